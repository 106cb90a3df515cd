r"""UniRep: a RecBole sequential model whose items are [semantic embedding ; ID embedding], trained end to end.

Reference:
    Lin et al. "Unified Semantic and ID Representation Learning for Deep Recommenders." arXiv 2502.16474.

The paper trains with one negative per position (equation 2). The default here is the softmax over all items, as in
RecBole's SASRec. `--preset=paper` selects the settings of the paper.
"""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch.nn import functional

from recbole_unirep import parallel
from recbole_unirep.analysis.codebook import codebook_report
from recbole_unirep.model.score_bias import make_score_bias
from recbole_unirep.model.unirep_options import fitted_defaults
from recbole_unirep.model.unirep_parts import make_parts
from recbole_unirep.modules.codebook_steps import move_codebooks
from recbole_unirep.scoring.model_contract import prefix_states, replaced, sequence_states
from recbole_unirep.scoring.score_additions import SoftmaxAdditions
from recbole_unirep.training.losses import PAIRWISE, recommendation_loss
from recbole_unirep.training.softmax import cross_entropy


class UniRep(SequentialRecommender):
    """Unified semantic and ID representation over a sequential backbone.

    Args:
        config (Config): RecBole's or ours, with the keys of properties/model/UniRep.yaml, its tokenizer and backbone.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option is out of its range, or the backbone does not support the loss.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        parts = make_parts(config, dataset)
        self.backbone_name, self.loss_type = config["backbone"], config["loss_type"]
        self.label_smoothing, self.seed = config["label_smoothing"], config["seed"]
        self.loss_names, self.loss_weights = list(parts.loss_weights), list(parts.loss_weights.values())
        self.quantization, self.n_training_items = parts.quantization, parts.n_training_items
        self.text_encoder, self._fitted = parts.semantic.text_encoder, dict(parts.semantic.fitted)
        self.register_buffer("has_text", parts.semantic.has_text)
        self.backbone = parts.backbone
        self.has_local_convolution, self.n_backbones = config["local_convolution"] > 0, config["n_backbones"]
        self.output_projection, self.temperature = parts.output_projection, parts.temperature
        self.log_temperature = parts.log_temperature
        self.score_bias = make_score_bias(config, dataset, self._directions)
        if self.quantization.dead_code_steps:
            used = torch.zeros(self.item_embedding.tokenizer.quantizer.codebooks.shape[:2], dtype=torch.bool)
            self.register_buffer("code_is_used", used)
            self.register_buffer("n_steps_counted", torch.zeros((), dtype=torch.int64))

    fitted_defaults = staticmethod(fitted_defaults)

    @property
    def item_embedding(self):
        """The item table."""
        return self.backbone.item_embedding

    @property
    def sequence_states(self):
        """Function from item ids [B, L] to states [B, L, H]; None if the backbone is not causal."""
        states = sequence_states(self.backbone)
        return states and (lambda item_seq: self._to_score(_in_float32_on_cpu(states, item_seq)))

    @property
    def has_codes(self):
        """True if the representation has semantic IDs."""
        return self.item_embedding.has_codes

    @property
    def id_table(self):
        """The table of ID embeddings; None if the representation has none."""
        return self.item_embedding.id_embedding

    @property
    def ranking_bias(self):
        """The ScoreBias added to the dot products of state and item; None if nothing is added."""
        return self.score_bias

    @property
    def item_table_parameters(self):
        """Number of learned parameters addressed by item or by code (as in the paper's Table 5)."""
        return self.item_embedding.n_table_parameters

    @property
    def n_ema_parameters(self):
        """Number of learned parameters that no gradient updates: codebooks with codebook_update 'ema'."""
        tokenizer = self.item_embedding.tokenizer
        if tokenizer is None or not self.has_codes or tokenizer.quantizer.codebooks.requires_grad:
            return 0
        return tokenizer.quantizer.codebooks.numel()

    def calculate_loss(self, interaction):
        """Returns the losses of one of RecBole's batches, with the backbone's objective.

        Returns:
            tuple[Tensor, ...]: weighted recommendation, quantization and reconstruction loss, as far as the
            representation has them, shape: [] each.

        Raises:
            ValueError: the loss is the sampled softmax, which needs training on user sequences.
        """
        in_use = torch.cat([interaction[field].reshape(-1) for field in self._id_fields() if field in interaction])
        if self.loss_type == "SSM":
            raise ValueError("loss_type=SSM needs training on user sequences: use training_rows=user, or CE or BPR")
        read = torch.cat([interaction[self.ITEM_SEQ].reshape(-1), interaction[self.POS_ITEM_ID]])
        in_use, read = map(parallel.joined, (in_use, read))  # per-item losses are the same in every process
        with self.item_embedding.step(in_use if self._needs_few_items() else None, read) as encoded:
            own = self._overrides_scoring() or self._learned_bias is not None
            if self.loss_type == "BCE" or own:  # RecBole's own losses support neither
                recommendation = self._last_position_loss(interaction)
            else:
                recommendation = self.backbone.calculate_loss(interaction)
            return self._all_losses(recommendation, encoded, read)

    def row_losses(self, batch):
        """Returns the losses at all positions of one batch of training rows; needs a causal backbone.

        Args:
            batch (RowBatch): training rows.

        Returns:
            tuple[Tensor, ...]: as in `calculate_loss`.
        """
        read = torch.cat([batch.inputs.reshape(-1), batch.targets])
        in_use = torch.cat([read, batch.negatives])
        with self.item_embedding.step(in_use if self._needs_few_items() else None, read) as encoded:
            recommendation = recommendation_loss(
                batch,
                prefix_states(self),
                self.item_embedding,
                self.n_training_items,
                self.loss_type,
                self._learned_bias,
                self.label_smoothing,
            )
            return self._all_losses(recommendation, encoded, read)

    def predict(self, interaction):
        if not self._overrides_scoring() and self.score_bias is None:
            return self.backbone.predict(interaction)
        item = interaction[self.ITEM_ID]
        scores = (self._last_state(interaction) * self.item_embedding(item)).sum(dim=-1)
        if self.score_bias is None:
            return scores
        additions, features = self.score_bias(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN] - 1)
        row = torch.arange(len(item), device=item.device)
        if additions is not None:
            scores = scores + additions.of(row, item)
        return scores if features is None else scores + features.pairs(row, item).to(scores.dtype)

    def full_sort_predict(self, interaction):
        if not self._overrides_scoring() and self.score_bias is None:
            return self.backbone.full_sort_predict(interaction)
        scores = self._last_state(interaction) @ self.item_embedding.weight[: self.n_items].T
        if self.score_bias is None:
            return scores
        additions, features = self.score_bias(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN] - 1)
        if additions is not None:
            scores = scores.index_put((additions.position, additions.item), additions.value, accumulate=True)
        if features is None:
            return scores
        items = torch.arange(self.n_items, device=scores.device)
        return scores + features.block(items).to(scores.dtype)

    def codebook_report(self):
        """Returns usage and perplexity of each level, unique_item_coverage and collision_rate, over all items.

        Returns:
            dict[str, float]: empty if the representation has no codes.
        """
        if not self.has_codes:
            return {}
        return codebook_report(self.item_embedding.codes().cpu().numpy(), self.item_embedding.codebook_sizes)

    def with_item_table(self, table):
        """Returns a copy that looks items up in `table`; all other modules are shared with the model."""
        return replaced(self, backbone=replaced(self.backbone, item_embedding=table))

    def fit_codes(self):
        if self.has_codes and not self.item_embedding.trains_on_codes:
            table = self.item_embedding
            is_read = self.has_text & (torch.arange(self.n_items, device=self.has_text.device) < self.n_training_items)
            table.tokenizer.fit_codes(table.item_text_embedding[is_read], self.seed)
            parallel.copy_from_main(table.tokenizer.quantizer.codebooks.data)

    def take_fitted(self):
        """Returns the FittedCodes of the frozen codes by folder name, and drops the model's own reference to them."""
        fitted, self._fitted = self._fitted, {}
        return fitted

    @property
    def embeds_new_items(self):
        """True if items have a semantic part and scores are products of state and item, plus a ScoreBias."""
        return self.item_embedding.has_semantic and self.sequence_states is not None and self.score_bias is not None

    def embed_as_new(self, items):
        """Returns rows of the item table [M, H] and directions [M, D] that trained items [M] would have as new ones."""
        return self.item_embedding.as_new(items), self._directions(items)

    def add_items(self, new, sizes):
        """Appends new items. The model must not be trained afterwards.

        Args:
            new (NewItems): M items, which get the ids N to N + M - 1.
            sizes (list of int): number of items of each batch of additions; unused here.
        """
        n_new, bias = len(new.text), self.score_bias
        if self.n_training_items == self.n_items:  # no cold items between the trained and the new items
            self.n_training_items += n_new
        self.item_embedding.add_items(new, bias is not None and bias.needs_directions)
        self.has_text = functional.pad(self.has_text, (0, n_new), value=True)
        if bias is not None:
            bias.extend(n_new)
        self.n_items = self.backbone.n_items = self.n_items + n_new

    def _id_fields(self):
        fields = [self.ITEM_SEQ, self.POS_ITEM_ID, self.NEG_ITEM_ID]
        if self.backbone_name == "BERT4Rec":
            fields += [self.backbone.MASK_ITEM_SEQ, self.backbone.POS_ITEMS, self.backbone.NEG_ITEMS]
        return fields

    def _needs_few_items(self):
        """True if a step reads only the items of its batch; Caser's regularizer reads the whole table."""
        return self.loss_type != "CE" and self.quantization.items == "batch" and self.backbone_name != "Caser"

    def _to_score(self, states):
        """Maps the backbone's states [..., H] to the vectors that are multiplied with item embeddings."""
        if self.output_projection is not None:
            states = self.output_projection(states)
        if self.temperature is None:
            return states
        temperature = self.temperature if self.log_temperature is None else self.log_temperature.exp()
        return functional.normalize(states, dim=-1) / temperature

    def _overrides_scoring(self):
        """True if scores differ from the backbone's dot product of state and item embedding."""
        is_extended = self.has_local_convolution or self.n_backbones > 1
        return is_extended or self.output_projection is not None or self.temperature is not None

    def _directions(self, ids):
        """Returns unit vectors for the similarity of items; zeros for items without text, similar to no item."""
        directions = self.item_embedding.directions(ids)
        return directions if self.has_text is None else directions * self.has_text[ids][..., None]

    @property
    def _learned_bias(self):
        """Function that computes the learned score additions; None if the model has none."""
        return self.score_bias.learned if self.score_bias is not None and self.score_bias.is_learned else None

    def _last_state(self, interaction):
        """Returns the vectors that are multiplied with item embeddings, at the last position, shape: [B, H]."""
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        if self.sequence_states is None:
            return self.backbone.forward(item_seq, length)
        return self.sequence_states(item_seq)[torch.arange(len(length), device=length.device), length - 1]

    def _last_position_loss(self, interaction):
        state, target = self._last_state(interaction), interaction[self.POS_ITEM_ID]
        if self.loss_type == "CE":
            added = None
            if self._learned_bias is not None:
                length, row = interaction[self.ITEM_SEQ_LEN], torch.arange(len(target), device=target.device)
                rows = functional.pad(interaction[self.ITEM_SEQ], (0, 1)).scatter(1, length[:, None], target[:, None])
                scored = torch.arange(1, self.n_items, device=target.device)
                added = SoftmaxAdditions.among(self._learned_bias(rows, row, length - 1), target, scored)
            return cross_entropy(state, self.item_embedding.weight[1 : self.n_items], target - 1, added)
        positive = (state * self.item_embedding(target)).sum(dim=-1)
        negative = (state * self.item_embedding(interaction[self.NEG_ITEM_ID])).sum(dim=-1)
        return PAIRWISE[self.loss_type](positive, negative)

    def _all_losses(self, recommendation, encoded, read):
        """Returns the weighted losses: the recommendation loss and the further losses of Algorithm 1."""
        losses = [recommendation]
        if encoded.latent is not None:
            row, weight = self._carriers(encoded.items, read)
            table, tokenizer = self.item_embedding, self.item_embedding.tokenizer
            if "quantization" in self.loss_names:
                loss = tokenizer.quantizer.losses(encoded.latent.index_select(0, row), encoded.codes[row])
                losses.append((loss * weight).sum())
                if self.training:
                    move_codebooks(self, encoded)
            text = table.item_text_embedding[encoded.items[row]]
            loss = tokenizer.reconstruction_loss(text, encoded.semantic.index_select(0, row))
            losses.append((loss * weight).sum())
        return tuple(weight * loss for weight, loss in zip(self.loss_weights, losses))

    def _carriers(self, encoded_items, read):
        """Returns the rows of `encoded_items` that enter Algorithm 1's losses, and their weights, which sum to 1."""
        items, count = encoded_items, torch.ones_like(encoded_items)
        if self.quantization.items == "batch":
            items, count = torch.unique(read[read > 0], return_counts=True)
        weight = count.float() if self.quantization.weighting == "occurrence" else torch.ones_like(count).float()
        weight = weight * self.has_text[items]  # items without text are not quantized
        return torch.searchsorted(encoded_items, items), weight / weight.sum().clamp(min=1)


def _in_float32_on_cpu(states, item_seq):
    """Computes states without autocast on a CPU, whose bfloat16 kernels are compiled anew for each shape of rows."""
    if item_seq.device.type != "cpu":
        return states(item_seq)
    with torch.autocast("cpu", enabled=False):
        return states(item_seq)
