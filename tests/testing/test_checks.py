"""Our backbones and models keep the contracts of recbole_unirep.testing, and a broken promise is named."""

import numpy as np
import pytest
import torch
from recbole.model.sequential_recommender import SASRec

from recbole_unirep.model import MODELS
from recbole_unirep.model.backbone import BACKBONES
from recbole_unirep.model.hstu import HSTU
from recbole_unirep.model.textknn import TextKNN
from recbole_unirep.testing import (
    backbones,
    check_backbone,
    check_model,
    check_text_encoder,
    check_tokenizer,
    models,
    text_encoders,
    tokenizers,
    trained_tokenizers,
    vector_tokenizers,
)
from recbole_unirep.testing.tiny_dataset import tiny_dataset
from recbole_unirep.testing.tokenizer_case import TokenizerCase
from recbole_unirep.tokenizer.rqkmeans import RQKMeans
from recbole_unirep.tokenizer.rqvae import RQVAE

CODES = {"n_levels": 3, "codebook_size": 8, "code_dim": 8, "encoder_sizes": [12]}
BEAMS = {"n_levels": 2, "codebook_size": 6, "n_layers": 1, "head_size": 8, "topk": [5, 10], "num_beams": 12}
SIZES = {
    "UniRep": CODES,
    "VQRec": {"n_levels": 4, "codebook_size": 6, "code_embedding_size": 16, "opq_iterations": 2},
    "RPG": {**BEAMS, "n_levels": 4, "opq_iterations": 2},
    "EAGER": {**BEAMS, "behaviour_codebook_size": 6},
    "ActionPiece": {**BEAMS, "n_levels": 4, "opq_iterations": 2, "vocabulary_size": 200, "n_segmentations": 2},
    "TIGER": BEAMS,
    "LIGER": BEAMS,
    "MBGen": {**BEAMS, "tokenizer": "RQKMeans", "behaviour_field": "rating", "behaviour_cuts": [3]},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_keeps_the_contract(name):
    check_backbone(name)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "GRPO"])  # GRPO starts from a finished run
def test_every_model_keeps_the_contract(name):
    check_model(name, **SIZES.get(name, {}))


def changed(part, **methods):
    """A subclass of the same name with some methods replaced."""
    return type(part.__name__, (part,), methods)


def drawn(self, x):
    return torch.randint(self.codebook_size, (len(x), self.n_levels))


def with_memory(self, x):
    self.n_fits = getattr(self, "n_fits", 0) + 1
    RQKMeans._fit(self, x)
    self.codebooks = self.codebooks * self.n_fits


def of_the_batch(self, x):
    return RQKMeans._encode(self, x - x.mean(dim=0))


def moved(self, codes):
    self.codebooks += 1e-3
    return RQKMeans._decode(self, codes)


@pytest.mark.parametrize(
    ("promise", "methods", "sentence"),
    [
        ("same_seed_same_codes", {"_encode": drawn}, "draws from torch's global random state"),
        ("codes_stay_inside_their_codebooks", {"_encode": lambda self, x: drawn(self, x) + 8}, "codes go from"),
        ("codes_stay_inside_their_codebooks", {"_encode": lambda self, x: drawn(self, x).int()}, "int32, not int64"),
        ("codes_stay_inside_their_codebooks", {"_encode": lambda self, x: drawn(self, x)[:, :2]}, r"\[50, 2\], not"),
        ("second_fit_forgets_the_first", {"_fit": with_memory}, "codebooks of a second fit remembers the first"),
        ("encode_and_decode_change_nothing", {"_decode": moved}, "gives other codes|changes codebooks"),
        ("decode_leads_back_to_the_text_space", {"_decode": lambda self, codes: codes.float()}, r"gives \[50, 3\]"),
        ("vectors_of_another_width_are_refused", {"_check_width": lambda self, x: None}, "not ValueError"),
        (
            "approximations_improve_and_end_in_the_decoded_vector",
            {"_decode": lambda self, c: RQKMeans._decode(self, c) + 1},
            "not the decoded vector",
        ),
        ("no_vectors_are_refused", {"fit": lambda self, x: self}, "no ValueError is raised"),
        (
            "an_item_has_its_code_alone_and_among_others",
            {"_encode": of_the_batch},
            "other codes alone than among others",
        ),
        ("last_code_is_the_nearest", {"_encode": lambda self, x: drawn(self, x)}, "the last code is not the nearest"),
        ("encode_before_fit_is_refused", {"_check_width": lambda self, x: None}, "not ValueError"),
    ],
)
def test_a_tokenizer_that_breaks_a_promise_is_named(promise, methods, sentence):
    case = TokenizerCase(changed(RQKMeans, **methods), {"codebook_size": 8})
    getattr(vector_tokenizers, promise)(TokenizerCase(RQKMeans, {"codebook_size": 8}))
    with pytest.raises(AssertionError, match=f"RQKMeans.*({sentence})"):
        getattr(vector_tokenizers, promise)(case)


def with_default(self, *, n_levels, kmeans_iterations=10):
    """Takes fewer arguments than its yaml has keys."""


def with_another(self, *, width, **keys):
    """Takes an argument that is not a key of its yaml."""


@pytest.mark.parametrize(
    ("promise", "init", "sentence"),
    [
        ("constructor_takes_keywords_without_defaults", with_default, "kmeans_iterations has a default, which belongs"),
        ("it_is_built_from_the_keys_of_its_yaml", with_default, "it ignores the key codebook_size of its yaml"),
        ("it_is_built_from_the_keys_of_its_yaml", with_another, "its yaml lacks the key 'width'"),
    ],
)
def test_a_tokenizer_whose_arguments_are_not_its_keys_is_named(promise, init, sentence):
    with pytest.raises(AssertionError, match=f"RQKMeans: {sentence}"):
        getattr(tokenizers, promise)(TokenizerCase(changed(RQKMeans, __init__=init), {}))


def doubled(self, x):
    return 2 * RQVAE.scale_text(self, x) + 1


def summed(self, x, vectors):
    return RQVAE.reconstruction_loss(self, x, vectors).sum()


@pytest.mark.parametrize(
    ("promise", "methods", "sentence"),
    [
        ("scaled_text_has_the_text_mean_at_zero", {"scale_text": doubled}, "scale_text maps text_mean to"),
        ("quantizer_gives_the_codes_of_encode", {"encode": lambda self, x: drawn(self, x)}, "other codes than encode"),
        ("losses_are_one_number_per_vector", {"reconstruction_loss": summed}, "not one number per vector"),
        ("without_quantizer_an_autoencoder_is_left", {"without_quantizer": lambda self: self}, "keeps the quantizer"),
    ],
)
def test_a_trained_tokenizer_that_breaks_a_promise_is_named(promise, methods, sentence):
    settings = {"codebook_size": 8, "code_dim": 4, "encoder_sizes": [8]}
    getattr(trained_tokenizers, promise)(TokenizerCase(RQVAE, settings))
    with pytest.raises(AssertionError, match=f"RQVAE: .*{sentence}"):
        getattr(trained_tokenizers, promise)(TokenizerCase(changed(RQVAE, **methods), settings))


PREDICT, STATES, FULL_SORT_PREDICT = HSTU.predict, HSTU.sequence_states, HSTU.full_sort_predict


@pytest.mark.parametrize(
    ("promise", "methods", "sentence"),
    [
        (
            "predict_agrees_with_full_sort_predict",
            {"predict": lambda self, x: PREDICT(self, x) + 1},
            "predict and full_sort_predict differ",
        ),
        (
            "states_see_no_later_item",
            {"sequence_states": lambda self, x: STATES(self, x).flip(1)},
            "states depend on later items",
        ),
        ("recboles_own_loader_trains_it", {"calculate_loss": lambda self, _: torch.zeros(2)}, "not one finite number"),
        (
            "recboles_own_loader_trains_it",
            {"calculate_loss": lambda self, _: torch.zeros((), requires_grad=True)},
            "has no gradient",
        ),
        (
            "state_dict_is_all_of_it",
            {"full_sort_predict": lambda self, x: FULL_SORT_PREDICT(self, x) + id(self) % 1001},
            "its state dict does not reproduce its scores",
        ),
    ],
)
def test_a_model_that_breaks_a_promise_is_named(monkeypatch, promise, methods, sentence):
    for name, method in methods.items():
        monkeypatch.setattr(HSTU, name, method, raising=True)
    with tiny_dataset(model="HSTU") as keys, pytest.raises(AssertionError, match=f"HSTU: .*{sentence}"):
        getattr(models, promise)("HSTU", keys)


def test_a_run_with_other_metrics_after_loading_is_named(monkeypatch):
    monkeypatch.setattr(models, "evaluate_protocols", lambda *_: {"full": {"mrr": 2.0}})
    with (
        tiny_dataset(model="TextKNN") as keys,
        pytest.raises(AssertionError, match="TextKNN: a loaded run has the metrics"),
    ):
        models.a_run_is_read_back("TextKNN", keys)


def test_a_backbone_without_the_convolution_is_named(monkeypatch):
    monkeypatch.setattr("recbole_unirep.model.hstu.read_items", lambda model, items: model.item_embedding(items))
    keys = {"model": "UniRep", "backbone": "HSTU", **CODES}
    with tiny_dataset(**keys) as keys, pytest.raises(AssertionError, match="HSTU: local_convolution changes no state"):
        backbones.local_convolution_is_read("HSTU", keys)


def test_a_backbone_whose_yaml_lacks_its_size_is_named(monkeypatch):
    monkeypatch.setattr(HSTU, "item_size_key", "width")
    monkeypatch.setitem(BACKBONES, "HSTU", "width")
    with pytest.raises(AssertionError, match="HSTU: its yaml declares no width"):
        backbones.its_yaml_declares_the_size_of_its_table("HSTU", {})


class Counting:
    """A text encoder whose vectors depend on the number of calls."""

    def __init__(self, device):
        self.n_calls = 0

    def encode(self, sentences, batch_size):
        self.n_calls += 1
        return np.arange(2.0 * len(sentences)).reshape(-1, 2) * self.n_calls


def test_a_text_encoder_that_breaks_a_promise_is_named():
    text_encoders.vectors_are_finite_numbers(Counting)
    with pytest.raises(AssertionError, match="Counting: vectors differ with another order"):
        text_encoders.a_sentence_has_its_vector_alone_and_among_others(Counting)
    integers = changed(Counting, encode=lambda self, sentences, batch_size: np.ones((len(sentences), 2), dtype=int))
    with pytest.raises(AssertionError, match="vectors are int64, not floats"):
        text_encoders.vectors_are_finite_numbers(integers)


def test_a_class_is_checked_only_if_its_name_finds_it():
    other = changed(TextKNN)
    with pytest.raises(AssertionError, match="is not the class that its name finds"):
        check_model(other)
    with pytest.raises(AssertionError, match="is not the class that its name finds"):
        check_tokenizer(changed(RQKMeans))
    with pytest.raises(AssertionError, match="is not the class that its name finds"):
        check_backbone(changed(SASRec))
    with pytest.raises(ValueError, match="no package has a text encoder 'lexical'"):
        check_text_encoder("lexical")
