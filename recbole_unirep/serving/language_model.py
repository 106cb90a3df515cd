"""recbole_unirep.serving.language_model: a causal language model of Hugging Face that writes semantic IDs.

Reference:
    As `recbole_unirep.serving.instructions`, which writes what such a model is tuned on and what is read here.

The model's vocabulary gets a token for each code. Decoding is the beam search of the other generative models: a prompt
is read once, each beam of it has a copy of its keys and values, only tokens of the level that comes next are looked at,
and every beam is the ID of an item.

Shapes: B prompts, S tokens of a prompt, n beams of each, K codes of a level.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recbole_unirep.files.manifest import read_manifest
from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.generation.trie import PrefixTrie, close_codes


class Written(NamedTuple):
    """What a model writes after a prompt.

    Attributes:
        items (list of str): best first; items that share an ID stand side by side, with one score.
        scores (list of float): log-likelihoods of their IDs among the codes of each level.
    """

    items: list
    scores: list


class IDLanguageModel:
    """A language model with tokens for semantic IDs.

    Args:
        model (transformers PreTrainedModel): causal, its embeddings as many as the tokenizer's tokens.
        tokenizer (transformers PreTrainedTokenizerBase): it knows the ID tokens.
        levels (list of list of str): the ID tokens, level by level.
        ids (dict): item token to the tokens of its ID.

    Raises:
        ValueError: an ID token is none of the tokenizer's.
    """

    def __init__(self, model, tokenizer, levels, ids):
        self.model, self.tokenizer, self.items = model.eval(), tokenizer, list(ids)
        numbers = [[tokenizer.convert_tokens_to_ids(token) for token in level] for level in levels]
        for level, of_level in zip(levels, numbers):
            for token, number in zip(level, of_level):
                if number is None or number == tokenizer.unk_token_id:
                    raise ValueError(f"{token} is no token of the tokenizer: read it by IDLanguageModel.load")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        code_of = [{token: code for code, token in enumerate(level)} for level in levels]
        codes = torch.full((len(ids), len(levels)), -1, device=model.device)
        for row, tokens in enumerate(ids.values()):
            for level, token in enumerate(tokens):
                codes[row, level] = code_of[level][token]
        closed = close_codes(codes, [len(level) for level in levels])
        end = tokenizer.eos_token_id
        if end is None and any(len(tokens) < len(levels) for tokens in ids.values()):
            raise ValueError("some IDs end early and the tokenizer has no eos_token that could end them: give it one")
        has_end = [size > len(level) for size, level in zip(closed.codebook_sizes, levels)]
        self.level_tokens = [
            torch.tensor([*of_level, *([end] if ends else [])]) for of_level, ends in zip(numbers, has_end)
        ]
        self.trie = PrefixTrie(closed)

    @classmethod
    def load(cls, name, instructions, device="cpu"):
        """Reads a model and what `unirep export --format=instructions` wrote; tokens that it lacks are added.

        Args:
            name (str or Path): folder or name of a causal model of Hugging Face.
            instructions (str or Path): the export's folder.
            device (str or torch.device): where the model goes.

        Returns:
            IDLanguageModel: of new embeddings for tokens that were added: tune it before it is asked.

        Raises:
            FileNotFoundError, ValueError: the export can't be read.
            OSError: there is no such model.
        """
        folder = Path(instructions)
        read_manifest(folder)
        levels = json.loads((folder / "id_tokens.json").read_text(encoding="utf-8"))
        ids = json.loads((folder / "semantic_ids.json").read_text(encoding="utf-8"))
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name)
        tokenizer.add_tokens([token for level in levels for token in level])
        if model.get_input_embeddings().num_embeddings < len(tokenizer):
            model.resize_token_embeddings(len(tokenizer))
        return cls(model.to(device), tokenizer, levels, ids)

    @torch.no_grad()
    def recommend(self, prompts, k=10, num_beams=50, prompts_at_once=8):
        """The items whose IDs are most likely after each prompt.

        Args:
            prompts (list of str): as the instructions write them.
            k (int): items of each.
            num_beams (int): IDs that the search keeps, at least k.
            prompts_at_once (int): prompts that are read together; each has num_beams copies of what was read.

        Returns:
            list of Written: one a prompt.

        Raises:
            ValueError: there is no prompt, one is longer than the model reads, or fewer beams than items are asked for.
        """
        if not prompts or not all(prompts):
            raise ValueError("a prompt is empty: give texts as the instructions have them")
        if num_beams < k:
            raise ValueError(f"num_beams={num_beams} finds fewer items than k={k} asks for: raise num_beams")
        written = []
        for first in range(0, len(prompts), prompts_at_once):
            decoder = _Decoder(self, prompts[first : first + prompts_at_once])
            leaf, score = beam_search(decoder, self.trie, num_beams)
            written += [self._items(*row, k) for row in zip(leaf.tolist(), score.tolist())]
        return written

    def _items(self, leaves, scores, k):
        found = []
        for leaf, score in zip(leaves, scores):
            if score > -torch.inf and len(found) < k:
                rows = (self.trie.leaf == leaf).nonzero()[:, 0].tolist()
                found += [(self.items[row], score) for row in rows]
        return Written([item for item, _ in found[:k]], [score for _, score in found[:k]])


class _Decoder:
    """Prompts that were read, see `generation.beam_search.Decoder`."""

    n_kept = 0  # what a prefix keeps is the model's own matter

    def __init__(self, language_model, prompts):
        self.own, self.model = language_model, language_model.model
        tokenizer = language_model.tokenizer
        tokenizer.padding_side = "left"
        self.prompts = tokenizer(prompts, return_tensors="pt", padding=True).to(self.model.device)
        n_most, n_tokens = self.model.config.to_dict().get("max_position_embeddings"), self.prompts.input_ids.shape[1]
        if n_most is not None and n_tokens + len(language_model.level_tokens) > n_most:
            raise ValueError(
                f"a prompt has {n_tokens} tokens and an ID up to {len(language_model.level_tokens)}, the model reads "
                f"{n_most}: shorten the history"
            )

    def __len__(self):
        return len(self.prompts.input_ids)

    def start(self):
        self.level, self.n_prefixes = 0, 1
        self.is_read, self.past = self.prompts.attention_mask, None
        return self._logits(self.prompts.input_ids)

    def step(self, parent, code):
        device = self.is_read.device
        first = self.n_prefixes * torch.arange(len(parent), device=device)[:, None]
        row = (first + parent).flatten()  # of the prefixes so far, [B * n]
        self.past.batch_select_indices(row)
        self.is_read = torch.cat([self.is_read[row], self.is_read.new_ones(len(row), 1)], dim=1)
        token = self.own.level_tokens[self.level].to(device)[code].flatten()[:, None]
        self.level, self.n_prefixes = self.level + 1, parent.shape[1]
        return self._logits(token)

    def _logits(self, tokens):
        """Of the codes of the level that comes next, shape: [B, n, K]."""
        place = (self.is_read.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        output = self.model(
            input_ids=tokens,
            attention_mask=self.is_read,
            position_ids=place,
            past_key_values=self.past,
            use_cache=True,
        )
        self.past = output.past_key_values
        of_level = self.own.level_tokens[self.level].to(tokens.device)
        return output.logits[:, -1, of_level].unflatten(0, (-1, self.n_prefixes))
