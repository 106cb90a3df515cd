"""TextKNN: scores by hand, and a run."""

import pytest
import torch
from torch.nn import functional as F

from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.model import MODELS
from recbole_unirep.quick_start import run_recbole

KEYS = {"text_encoder": "lexical", "lexical_dim": 8, "show_progress": False, "use_gpu": False, "topk": [10]}


@pytest.fixture
def model(tiny):
    config = Config("TextKNN", "tiny", config_dict={"data_path": str(tiny.parent), **KEYS, "recency": 0.5})
    return MODELS["TextKNN"](config, create_dataset(config).build()[0]).eval()


def test_a_score_is_the_weighted_mean_cosine_to_the_history(model):
    history = torch.tensor([[3, 4, 5, 0], [6, 0, 0, 0]])
    interaction = {"item_id_list": history, "item_length": torch.tensor([3, 1]), "item_id": torch.tensor([7, 8])}
    scores = model.full_sort_predict(interaction)
    text = model.unit_text
    for item in (1, 7, 8, 40):
        cosine = F.cosine_similarity(text[[3, 4, 5]], text[item][None])
        by_hand = (0.25 * cosine[0] + 0.5 * cosine[1] + cosine[2]) / 1.75
        torch.testing.assert_close(scores[0, item], by_hand)
    torch.testing.assert_close(scores[1], text @ text[6])
    torch.testing.assert_close(model.predict(interaction), scores[[0, 1], [7, 8]])


def test_a_run_trains_nothing_and_ranks(tiny):
    keys = {"data_path": str(tiny.parent), **KEYS, "run_dir": "run", "protocol": "full"}
    result = run_recbole("TextKNN", "tiny", config_dict=keys)
    assert result["best_epoch"] == 0 and result["item_table_parameters"] is None
    assert result["test_result"]["full"]["hit@10"] > 0


@pytest.mark.parametrize("recency", [0, 1.5])
def test_a_recency_out_of_range_is_an_error(tiny, recency):
    with pytest.raises(ValueError, match=f"recency={recency} is out of range: give a number above 0, at most 1"):
        run_recbole("TextKNN", "tiny", config_dict={"data_path": str(tiny.parent), **KEYS, "recency": recency})
