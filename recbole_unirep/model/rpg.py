"""RPG: all codes of a long semantic ID, predicted at once.

Reference:
    Yupeng Hou, Jiacheng Li, Ashley Shin, Jinsung Jeon, Abhishek Santhanam, Wei Shao, Kaveh Hassani, Ning Yao, Julian
        McAuley. "Generating Long Semantic IDs in Parallel for Recommendation" (RPG), KDD 2025, arXiv:2506.05781.

An item of a history is the mean of the vectors of its codes. From the state of the history, one head per level predicts
that level's code among the vectors of its codebook, independently of the other levels, so the log-likelihood of an ID
is a sum over its levels.

The paper searches a graph of similar IDs for the best ones. This module has that search, and also exact scores of all
items: a sum of gathered rows, for catalogues that fit into memory. The paper gives neither
the form of the heads nor the normalization of both factors of a product; these agree with the authors' code.

Shapes: B users, L items of a history, P targets, V levels, K codes of a level, H hidden_size, N items.
"""

import torch
from recbole.model.layers import TransformerEncoder
from torch import nn
from torch.nn import functional

from recbole_unirep.generation.id_graph import graph_search, id_graph
from recbole_unirep.model.generative import GenerativeRecommender

TOKENS_AT_ONCE = 2**13  # targets whose logits are in memory at a time


class RPG(GenerativeRecommender):
    """Parallel prediction of semantic IDs.

    Args:
        config (Config): ours; keys of properties/model/RPG.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option is out of its range.
    """

    checkpoint_names = {"ids.": ""}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.ids = self.make_ids(config, dataset)
        size, std = config["hidden_size"], config["initializer_range"]
        if config["temperature"] <= 0:
            raise ValueError(f"temperature={config['temperature']} divides the products: give a number above 0")
        self.temperature, self.graph_neighbours = config["temperature"], config["graph_neighbours"]
        self.graph_steps, self.graph_seed = config["graph_steps"], config["seed"]
        self.tokens = nn.Embedding(1 + self.ids.n_tokens, size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, size)
        self.norm = nn.LayerNorm(size, eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        residual_dropout = config["residual_dropout_prob"]
        if residual_dropout is None:
            residual_dropout = config["hidden_dropout_prob"]
        if not isinstance(residual_dropout, (int, float)) or not 0 <= residual_dropout <= 1:
            raise ValueError(f"residual_dropout_prob={residual_dropout} is no probability: give a number from 0 to 1")
        self.encoder = TransformerEncoder(
            n_layers=config["n_layers"],
            n_heads=config["n_heads"],
            hidden_size=size,
            inner_size=config["inner_size"],
            hidden_dropout_prob=residual_dropout,
            attn_dropout_prob=config["attn_dropout_prob"],
            hidden_act=config["hidden_act"],
            layer_norm_eps=config["layer_norm_eps"],
        )
        self.apply(lambda part: _initialise(part, std))
        self.head_weight = nn.Parameter(torch.zeros(self.ids.n_levels, size, size))  # each head starts as identity
        self.head_bias = nn.Parameter(torch.zeros(self.ids.n_levels, 1, size))
        self._graph = None
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "_graph", None))

    @property
    def item_table_parameters(self):
        return self.ids.n_tokens * self.tokens.embedding_dim

    @property
    def code_vectors(self):
        return self.tokens.weight[1:].split(self.ids.codebook_sizes)

    def train(self, mode=True):
        if mode:
            self._graph = None  # training moves the vectors it is made of
        return super().train(mode)

    def id_loss(self, users, items, is_target, targets):
        states, total = self._states(items)[is_target], 0.0  # [P, H]
        for state, target in zip(states.split(TOKENS_AT_ONCE), targets.split(TOKENS_AT_ONCE)):
            codes, is_past_end = self.ids.codes[target], self.ids.is_past_end[target]  # [P, V]
            for level, logits in enumerate(self._logits(state)):
                loss = functional.cross_entropy(logits.float(), codes[:, level], reduction="none")
                total = total + loss.masked_fill(is_past_end[:, level], 0).sum()
        return total / (len(targets) * self.ids.n_levels)

    def remember(self, users, items):
        """Log-probability of every token, 0 for the padding token, shape: [B, 1 + V * K]."""
        length = (items > 0).sum(dim=1)
        state = self._states(items)[torch.arange(len(items), device=items.device), length - 1]
        log_p = [logits.float().log_softmax(dim=-1) for logits in self._logits(state)]
        return functional.pad(torch.cat(log_p, dim=1), (1, 0))

    def catalogue_scores(self, memory):
        """Log-likelihood of all IDs with `exact_ranking`, otherwise of the IDs that the graph search finds."""
        tokens = self._id_tokens
        if self.exact_ranking:
            of_leaves = functional.embedding_bag(tokens, memory.T.contiguous(), mode="sum").T  # [B, n_leaves]
            return self.ids.item_scores(of_leaves)
        if self._graph is None:
            vectors = functional.normalize(self.tokens.weight, dim=-1)
            self._graph = id_graph(vectors, tokens, self.graph_neighbours)
        leaf, score = graph_search(memory, tokens, self._graph, self.num_beams, self.graph_steps, self.graph_seed)
        of_leaves = score.new_full((len(leaf), len(tokens)), -torch.inf)
        return self.ids.item_scores(of_leaves.scatter_(1, leaf, score))

    def candidate_scores(self, memory, items):
        tokens = self.tokens_of(items)  # [B, C, V]
        return memory.gather(1, tokens.flatten(1)).view_as(tokens).sum(dim=-1)

    @property
    def _id_tokens(self):
        """Tokens of each distinct ID, 0 past its end, shape: [n_leaves, V]."""
        trie = self.ids.trie
        return (trie.ids + self.ids.first_token).masked_fill(trie.is_past_end, 0)

    def tokens_of(self, items):
        """Tokens of the items' IDs, 0 past an ID's end and for padding, shape: [..., V]."""
        return self.ids.tokens_of(items).masked_fill(self.ids.is_past_end[items] | (items == 0)[..., None], 0)

    def _states(self, items):
        """States at every position, shape: [B, L, H]."""
        tokens = self.tokens_of(items)
        x = self.tokens(tokens).sum(dim=-2) / (tokens > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        x = x + self.position_embedding(torch.arange(items.shape[1], device=items.device))
        return self.encoder(self.dropout(self.norm(x)), self.get_attention_mask(items), False)[-1]

    def _logits(self, states):
        """Logits of each level's codes from states [P, H], V times [P, K]."""
        heads = states + functional.silu(torch.matmul(states, self.head_weight) + self.head_bias)  # [V, P, H]
        heads = functional.normalize(heads, dim=-1) / self.temperature
        vectors = functional.normalize(self.tokens.weight[1:], dim=-1).split(self.ids.codebook_sizes)
        return [head @ vector.T for head, vector in zip(heads, vectors)]


def _initialise(part, std):
    """Normal weights and zero biases, as in RecBole's SASRec."""
    if isinstance(part, (nn.Linear, nn.Embedding)):
        nn.init.normal_(part.weight, std=std)
    if isinstance(part, nn.Linear) and part.bias is not None:
        nn.init.zeros_(part.bias)
