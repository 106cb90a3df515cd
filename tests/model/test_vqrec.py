"""VQRec: item vectors by hand, settings, and a run."""

import pytest
import torch

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model import MODELS
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.quick_start import run_recbole

KEYS = {
    "text_encoder": "lexical",
    "lexical_dim": 8,
    "n_levels": 4,
    "codebook_size": 8,
    "code_embedding_size": 6,
    "n_heads": 2,
    "users_per_batch": 16,
    "topk": [10],
    "show_progress": False,
    "use_gpu": False,
}


def test_an_item_is_the_sum_of_the_vectors_of_its_codes(tiny):
    config = Config("VQRec", "tiny", config_dict={"data_path": str(tiny.parent), **KEYS})
    data = load_data(config, trains_rows(config))
    model = build_model(config, data.train).eval()
    codes = model.item_embedding.codes()  # without padding
    vectors = model.item_embedding.code_embedding.vectors.weight[1:].unflatten(0, (4, 8))
    summed = sum(vectors[level, codes[:, level]] for level in range(4))
    table = model.item_embedding.weight[1 : model.n_items]
    cosine = torch.nn.functional.cosine_similarity(table, summed, dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    assert model.item_table_parameters == 4 * 8 * 6


def test_its_settings_override_those_of_unirep(tiny):
    mine, base = (Config(name, "tiny", config_dict={"data_path": str(tiny.parent)}) for name in ("VQRec", "UniRep"))
    assert (mine["tokenizer"], mine["representation"], mine["similarity"]) == ("OPQ", "semantic", "cosine")
    assert (base["tokenizer"], base["representation"], base["similarity"]) == ("RQVAE", "unified", "cosine")
    off = {"fusion": "concat", "repeat_bias": False, "transition_bias": 0, "loss_type": "CE", "epochs": 300}
    assert {key: mine[key] for key in off} == off and all(base[key] != value for key, value in off.items())
    assert mine["id_init_std"] == base["id_init_std"] and mine["opq_iterations"] == 20
    assert MODELS["VQRec"].__mro__[1] is MODELS["UniRep"]


def test_a_run_learns_and_ranks(tiny):
    keys = {"data_path": str(tiny.parent), **KEYS, "run_dir": "run", "epochs": 3, "learning_rate": 0.01}
    result = run_recbole("VQRec", "tiny", config_dict=keys)
    assert set(result["test_result"]) == {"uni99", "full", "full_unseen"}
    assert result["test_result"]["full"]["hit@10"] > 0 and result["codebook"]["codebook_usage_4"] > 0


def test_a_jointly_trained_tokenizer_is_an_error(tiny):
    with pytest.raises(ValueError, match="tokenizer=RQVAE is trained jointly, VQRec needs frozen codes"):
        run_recbole("VQRec", "tiny", config_dict={"data_path": str(tiny.parent), "tokenizer": "RQVAE"})


def test_a_preset_of_unirep_is_an_error(tiny):
    with pytest.raises(ValueError, match="preset 'best' is asked for, VQRec has none: leave it out"):
        Config("VQRec", "tiny", config_dict={"data_path": str(tiny.parent), "preset": "best"})
