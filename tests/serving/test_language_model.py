"""A tiny random language model that generates semantic IDs; beams are checked against likelihoods of whole texts."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recbole_unirep.files.manifest import write_manifest
from recbole_unirep.serving.language_model import IDLanguageModel

TEXT = "After the next item is Someone took these items oldest first Which comes"
WORDS = [*TEXT.split(), ",", ":", ".", "?", "<pad>", "<end>", "<unknown>"]
LEVELS = [["<1_0>", "<1_1>", "<1_2>"], ["<2_0>", "<2_1>"], ["<3_0>"]]
IDS = {
    "a": ["<1_0>", "<2_0>"],
    "b": ["<1_0>", "<2_1>", "<3_0>"],
    "c": ["<1_1>", "<2_1>", "<3_0>"],
    "d": ["<1_2>", "<2_0>"],
    "e": ["<1_2>", "<2_0>"],  # shares the ID of d
}
PROMPTS = [
    "After <1_0><2_0>, the next item is",
    "Someone took these items, oldest first: <1_1><2_1><3_0>. Which comes?",
]
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
MODELS = {
    "GPT-2": lambda n: GPT2LMHeadModel(GPT2Config(vocab_size=n, n_embd=16, n_layer=2, n_head=2, n_positions=64)),
    "Llama": lambda n: LlamaForCausalLM(LlamaConfig(vocab_size=n, max_position_embeddings=64, **SIZES)),
}


@pytest.fixture
def folders(tmp_path):
    """Folders of a tokenizer with a few words and of an export."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "<unknown>", "eos_token": "<end>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(tmp_path / "model")
    export = tmp_path / "export"
    export.mkdir()
    (export / "id_tokens.json").write_text(json.dumps(LEVELS))
    (export / "semantic_ids.json").write_text(json.dumps(IDS))
    write_manifest(export, {"kind": "instructions"})
    return tmp_path / "model", export


@pytest.fixture(params=MODELS, ids=list(MODELS))
def language_model(request, folders):
    torch.manual_seed(0)
    MODELS[request.param](len(WORDS)).save_pretrained(folders[0])
    torch.manual_seed(1)  # seed of the added embeddings
    return IDLanguageModel.load(*folders)


@torch.no_grad()
def likelihood(language_model, prompt, tokens):
    """Log-likelihood of an ID after a prompt, normalized per level over its tokens and, at level 3, the end token."""
    tokenizer, model = language_model.tokenizer, language_model.model
    read, total = tokenizer(prompt)["input_ids"], 0.0
    for level in range(len(LEVELS)):
        choices = tokenizer.convert_tokens_to_ids(LEVELS[level])
        if level == 2:
            choices = [*choices, tokenizer.eos_token_id]
        logits = model(torch.tensor([read])).logits[0, -1, choices]
        written = tokenizer.convert_tokens_to_ids(tokens[level]) if level < len(tokens) else tokenizer.eos_token_id
        total += float(logits.log_softmax(-1)[choices.index(written)])
        read = [*read, written]
    return total


def test_beams_have_the_likelihoods_and_order_of_whole_texts(language_model):
    for prompt, written in zip(PROMPTS, language_model.recommend(PROMPTS, k=5, num_beams=6), strict=True):
        expected = {item: likelihood(language_model, prompt, tokens) for item, tokens in IDS.items()}
        assert sorted(written.items) == sorted(IDS)
        assert written.scores == sorted(written.scores, reverse=True)
        for item, score in zip(*written):
            assert score == pytest.approx(expected[item], abs=1e-4)
        assert written.items.index("e") - written.items.index("d") == 1


def test_prompts_of_different_length_in_a_batch_have_the_results_of_each_alone(language_model):
    together = language_model.recommend(PROMPTS, k=3, num_beams=4)
    for prompt, row in zip(PROMPTS, together):
        (alone,) = language_model.recommend([prompt], k=3, num_beams=4)
        assert alone.items == row.items and alone.scores == pytest.approx(row.scores, abs=1e-4)


def test_prompts_in_several_batches_have_the_same_results(language_model):
    parts = language_model.recommend(PROMPTS * 2, k=3, num_beams=4, prompts_at_once=3)
    whole = language_model.recommend(PROMPTS, k=3, num_beams=4)
    for row, expected in zip(parts, whole * 2, strict=True):
        assert row.items == expected.items and row.scores == pytest.approx(expected.scores, abs=1e-4)


def test_id_tokens_are_added_once_and_are_one_token_each(language_model, folders):
    tokenizer, model = language_model.tokenizer, language_model.model
    assert len(tokenizer) == len(WORDS) + 6 == model.get_input_embeddings().num_embeddings
    assert tokenizer.tokenize("is <1_2><2_0>") == ["is", "<1_2>", "<2_0>"]
    model.save_pretrained(folders[0])
    tokenizer.save_pretrained(folders[0])
    again = IDLanguageModel.load(*folders)
    assert len(again.tokenizer) == len(tokenizer)
    assert again.recommend(PROMPTS) == language_model.recommend(PROMPTS)


def test_bad_input_is_named(language_model, folders):
    with pytest.raises(ValueError, match="num_beams=2 finds fewer items than k=5"):
        language_model.recommend(PROMPTS, k=5, num_beams=2)
    with pytest.raises(ValueError, match="a prompt has 80 tokens and an ID up to 3, the model reads at most 64"):
        language_model.recommend(["item " * 80])
    with pytest.raises(ValueError, match="a prompt is empty"):
        language_model.recommend(["After", ""])
    with pytest.raises(ValueError, match="<9_9> is not in the tokenizer"):
        IDLanguageModel(language_model.model, language_model.tokenizer, [["<9_9>"]], {"a": ["<9_9>"]})
    (folders[1] / "semantic_ids.json").write_text("{}")
    with pytest.raises(ValueError, match="semantic_ids.json has 2 bytes"):
        IDLanguageModel.load(*folders)
