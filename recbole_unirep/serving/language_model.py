"""recbole_unirep.serving.language_model: recommends with a Hugging Face causal language model that generates IDs.

Reference:
    See `recbole_unirep.serving.instructions`, which exports the data to tune such a model and the files read here.

The model's vocabulary gets one token per code. Decoding is the beam search of the other generative models: each prompt
is encoded once, each beam has a copy of its keys and values, and only tokens of the next level are candidates, so every
beam is the ID of an item.

Shapes: B prompts, S tokens of a prompt, n beams per prompt, K codes of a level.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recbole_unirep.files.manifest import read_manifest
from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.generation.trie import PrefixTrie, close_codes


class GeneratedItems(NamedTuple):
    """Items whose IDs a model generates for one prompt.

    Attributes:
        items (list of str): item tokens, best first; items that share an ID are adjacent and have the same score.
        scores (list of float): log-likelihoods of their IDs, normalized over the codes of each level.
    """

    items: list
    scores: list


class IDLanguageModel:
    """A language model with tokens for semantic IDs.

    Args:
        model (transformers PreTrainedModel): causal model with an embedding for every token of the tokenizer.
        tokenizer (transformers PreTrainedTokenizerBase): tokenizer that contains the ID tokens.
        levels (list of list of str): ID tokens per level.
        ids (dict): ID tokens of each item token.

    Raises:
        ValueError: the tokenizer lacks an ID token, or an eos_token although some IDs end early.
    """

    def __init__(self, model, tokenizer, levels, ids):
        self.model, self.tokenizer, self.items = model.eval(), tokenizer, list(ids)
        numbers = [[tokenizer.convert_tokens_to_ids(token) for token in level] for level in levels]
        for level, level_numbers in zip(levels, numbers):
            for token, number in zip(level, level_numbers):
                if number is None or number == tokenizer.unk_token_id:
                    raise ValueError(f"{token} is not in the tokenizer: load the model with IDLanguageModel.load")
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
            raise ValueError("some IDs end early and the tokenizer has no eos_token to end them: set eos_token")
        has_end = [size > len(level) for size, level in zip(closed.codebook_sizes, levels)]
        self.level_tokens = [torch.tensor([*level, *([end] if ends else [])]) for level, ends in zip(numbers, has_end)]
        self.trie = PrefixTrie(closed)

    @classmethod
    def load(cls, name, instructions, device="cpu"):
        """Loads a model and an export of `unirep export --format=instructions`; adds missing ID tokens.

        Args:
            name (str or Path): folder or name of a Hugging Face causal model.
            instructions (str or Path): folder of the export.
            device (str or torch.device): device of the model.

        Returns:
            IDLanguageModel: embeddings of added tokens are untrained: tune the model before you use it.

        Raises:
            FileNotFoundError, ValueError: the export is missing or damaged.
            OSError: the model does not exist.
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
        """Recommends the items with the most likely IDs for each prompt.

        Args:
            prompts (list of str): prompts in the wording of the instructions.
            k (int): number of items per prompt.
            num_beams (int): IDs kept by the beam search, at least k.
            prompts_at_once (int): prompts per batch; memory holds num_beams copies of each prompt's keys and values.

        Returns:
            list of GeneratedItems: one per prompt.

        Raises:
            ValueError: no prompt is given, one is empty or too long for the model, or num_beams is less than k.
        """
        if not prompts or not all(prompts):
            raise ValueError("a prompt is empty: give prompts in the wording of the instructions")
        if num_beams < k:
            raise ValueError(f"num_beams={num_beams} finds fewer items than k={k}: raise num_beams")
        generated = []
        for first in range(0, len(prompts), prompts_at_once):
            decoder = _Decoder(self, prompts[first : first + prompts_at_once])
            leaf, score = beam_search(decoder, self.trie, num_beams)
            generated += [self._items(*row, k) for row in zip(leaf.tolist(), score.tolist())]
        return generated

    def _items(self, leaves, scores, k):
        found = []
        for leaf, score in zip(leaves, scores):
            if score > -torch.inf and len(found) < k:
                rows = (self.trie.leaf == leaf).nonzero()[:, 0].tolist()
                found += [(self.items[row], score) for row in rows]
        return GeneratedItems([item for item, _ in found[:k]], [score for _, score in found[:k]])


class _Decoder:
    """Decoder over a batch of prompts, see `generation.beam_search.Decoder`."""

    n_kept = 0  # the model stores its own keys and values

    def __init__(self, language_model, prompts):
        self.language_model, self.model = language_model, language_model.model
        tokenizer = language_model.tokenizer
        tokenizer.padding_side = "left"
        self.prompts = tokenizer(prompts, return_tensors="pt", padding=True).to(self.model.device)
        settings, n_tokens = self.model.config, self.prompts.input_ids.shape[1]
        n_most = getattr(settings, "max_position_embeddings", None)  # GPT-2 has it under another name
        if n_most is not None and n_tokens + len(language_model.level_tokens) > n_most:
            raise ValueError(
                f"a prompt has {n_tokens} tokens and an ID up to {len(language_model.level_tokens)}, the model reads "
                f"at most {n_most}: shorten the history"
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
        row = (first + parent).flatten()  # batch row of each parent, [B * n]
        self.past.batch_select_indices(row)
        self.is_read = torch.cat([self.is_read[row], self.is_read.new_ones(len(row), 1)], dim=1)
        token = self.language_model.level_tokens[self.level].to(device)[code].flatten()[:, None]
        self.level, self.n_prefixes = self.level + 1, parent.shape[1]
        return self._logits(token)

    def _logits(self, tokens):
        """Logits of the next level's codes after `tokens`, shape: [B, n, K]."""
        place = (self.is_read.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        output = self.model(
            input_ids=tokens,
            attention_mask=self.is_read,
            position_ids=place,
            past_key_values=self.past,
            use_cache=True,
        )
        self.past = output.past_key_values
        level_tokens = self.language_model.level_tokens[self.level].to(tokens.device)
        return output.logits[:, -1, level_tokens].unflatten(0, (-1, self.n_prefixes))
