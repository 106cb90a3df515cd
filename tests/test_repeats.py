"""UniRep's default on data where users come back to items."""

import numpy as np
import pytest

from recbole_unirep.quick_start import run_recbole

pytestmark = pytest.mark.slow  # two trainings


@pytest.fixture
def repeats(tmp_path):
    """300 users over 200 items of ten kinds; with probability 0.5 a user repeats one of their last four items."""
    draw, lines = np.random.default_rng(5), ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(300):
        kind, history = draw.integers(10), []
        for day in range(24):
            if history and draw.random() < 0.5:
                item = draw.choice(history[-4:])
            else:
                item = 20 * kind + draw.integers(20) if draw.random() < 0.8 else draw.integers(200)
            history.append(item)
            lines.append(f"u{user}\ti{item}\t{1_300_000_000 + 86_400 * day}")
    folder = tmp_path / "data" / "again"
    folder.mkdir(parents=True)
    (folder / "again.inter").write_text("\n".join(lines) + "\n")
    rows = ["item_id:token\ttitle:token", *(f"i{item}\tkind{item // 20} number{item % 20}" for item in range(200))]
    (folder / "again.item").write_text("\n".join(rows) + "\n")
    return folder.parent


def test_the_default_does_not_lose_to_a_model_without_repeat_bias(repeats):
    keys = {
        "data_path": str(repeats),
        "text_encoder": "lexical",
        "lexical_dim": 32,
        "MAX_ITEM_LIST_LENGTH": 20,
        "epochs": 15,
        "warmup_steps": 50,
        "show_progress": False,
        "protocol": "full",
    }
    scores = {}
    for name, own in {"default": {}, "without": {"repeat_bias": False}}.items():
        result = run_recbole("UniRep", "again", config_dict={**keys, **own, "run_dir": name})
        scores[name] = result["test_result"]["full"]["ndcg@10"]
    print(scores)
    assert scores["default"] > 0.3  # repeats are found: the target is one of the last four in half of the cases
    assert scores["default"] > scores["without"] - 0.01
