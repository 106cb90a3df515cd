"""Cold items: chosen by token, excluded from training, ranked among all items."""

import numpy as np
import pytest
import torch

from recbole_unirep.config import Config
from recbole_unirep.data.cold_items import ColdItems, kept_interactions
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.training.losses import row_loss
from recbole_unirep.training.trainer import EngineTrainer

KEYS = {
    "split": "cold_items",
    "cold_item_share": 0.2,
    "text_encoder": "lexical",
    "lexical_dim": 8,
    "protocol": "full",
    "topk": [5, 10],
    "encoder_sizes": [8],
    "n_levels": 3,
    "codebook_size": 6,
    "epochs": 2,
    "show_progress": False,
    "use_gpu": False,
}


@pytest.fixture
def load(tiny):
    """Loads config and data of a model on the tiny dataset; keyword arguments override KEYS."""

    def load_with(model="SASRec", **keys):
        config = Config(model, "tiny", config_dict={"data_path": str(tiny.parent), **KEYS, **keys})
        return config, load_data(config, trains_rows(config))

    return load_with


def tokens_of(data, items):
    return set(data.train.field2id_token["item_id"][items].tolist())


def test_cold_items_depend_only_on_seed_and_tokens():
    tokens = np.array(["[PAD]", *(f"i{number}" for number in range(200))])
    chosen = set(tokens[ColdItems(0.1, 1).among(tokens)])
    assert len(chosen) == 20 and "[PAD]" not in chosen
    order = np.append(0, 1 + np.random.default_rng(0).permutation(200))
    assert set(tokens[order][ColdItems(0.1, 1).among(tokens[order])]) == chosen
    assert set(tokens[ColdItems(0.1, 2).among(tokens)]) != chosen


@pytest.mark.parametrize(("share", "n_cold"), [(0.0, 0), (1.0, 20), (0.01, 0)])
def test_a_share_without_cold_or_warm_items_is_an_error(share, n_cold):
    with pytest.raises(ValueError, match=f"cold_item_share={share} makes {n_cold} of 20 items cold: give a share"):
        ColdItems(share, 1).among(np.array([str(item) for item in range(21)]))


def test_cold_interactions_are_kept_only_as_test_targets():
    users = np.array([1, 2, 1, 1, 2, 1, 2, 3, 3, 4, 4, 4])
    items = np.array([1, 9, 9, 2, 1, 9, 9, 9, 1, 1, 9, 9])  # 9 is cold
    is_kept = kept_interactions(users, items, 9)
    # User 1 keeps items 1, 2 and the last one. Users 2 and 4 have a single warm item: their last one would be trained.
    assert is_kept.tolist() == [True, False, False, True, True, True, False, False, True, True, False, False]


def test_training_sees_no_cold_item(load):
    for loss in ("BCE", "SSM", "CE"):
        keys = {"loss_type": loss, "shared_negatives": 500}
        _, data = load(**keys)
        n_warm = data.train.n_training_items
        assert data.train.item_num - n_warm == 24
        batches = list(data.train_data)
        assert max(int(part.max()) for batch in batches for part in (batch.inputs, batch.targets)) < n_warm
        if loss != "CE":
            drawn = set()
            for data.train_data.epoch in range(20):
                drawn.update(item for batch in data.train_data for item in batch.negatives.tolist())
            assert drawn == set(range(1, n_warm))
        assert data.valid.targets.items.max() < n_warm
        assert data.test.interactions["item_id_list"].max() < n_warm
        assert (data.test.targets.items >= n_warm).sum() >= 5


def test_cold_targets_are_last_items_and_candidates_exclude_all_interactions(load, tiny):
    whole = load(split="leave_one_out")[1]
    data = load()[1]
    cold = tokens_of(data, np.arange(data.train.n_training_items, data.train.item_num))
    last = {}
    items_of = {}
    for line in (tiny / "tiny.inter").read_text(encoding="utf-8").splitlines()[1:]:
        user, item, _ = line.split("\t")
        last[user] = item
        items_of.setdefault(user, []).append(item)
    tested = dict(zip(data.test.user_tokens[data.test.targets.users], data.test.item_tokens[data.test.targets.items]))
    for user, item in tested.items():
        warm = [other for other in items_of[user][:-1] if other not in cold]
        assert item == (last[user] if last[user] in cold else [*warm, last[user]][-1])
    assert whole.fingerprint != data.fingerprint

    rows = torch.arange(len(data.test))
    row, item = data.test.earlier_of(rows)
    for place, user in enumerate(data.test.user_tokens[data.test.targets.users]):
        earlier = set(data.test.item_tokens[item[row == place]].tolist())
        assert earlier == set(items_of[user][:-1])  # including the dropped ones
    for user, candidates in zip(data.test.user_tokens[data.test.targets.users], data.test.candidates):
        tokens = set(data.test.item_tokens[candidates].tolist())
        assert len(tokens) == 99 and not set(items_of[user]) & tokens
    drawn = set(data.test.item_tokens[data.test.candidates.flatten()].tolist())
    assert drawn == set(data.test.item_tokens[1:].tolist())  # warm and cold


def trained(config, data, **keys):
    """Trains a model for two epochs."""
    torch.manual_seed(0)
    model = build_model(config, data.train)
    config["run_dir"] = "."
    EngineTrainer(config, model).fit(data.train_data, data.valid, verbose=False, saved=False)
    return model


@pytest.mark.parametrize("loss", ["CE", "SSM", "BCE"])
def test_cold_rows_of_an_id_model_stay_untrained(load, loss):
    config, data = load(loss_type=loss)
    torch.manual_seed(0)
    first = build_model(config, data.train).item_embedding.weight.detach().clone()
    last = trained(config, data).item_embedding.weight
    n_warm = data.train.n_training_items
    assert torch.equal(first[n_warm:], last[n_warm:])
    assert (first[1:n_warm] != last[1:n_warm]).any(dim=1).all()


def test_the_softmax_of_a_masked_model_is_over_warm_items(load):
    config, data = load("BERT4Rec")
    model = build_model(config, data.train)
    n_warm = data.train.n_training_items
    row_loss(model, next(iter(data.train_data)), n_warm, config).backward()
    assert not model.output_bias.grad[n_warm:].any()
    assert not model.item_embedding.weight.grad[n_warm : model.n_items].any()
    assert model.item_embedding.weight.grad[1:n_warm].any(dim=1).all()


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"loss_type": "SSM"},
        {"quantization_items": "catalogue"},
        {"dead_code_steps": 1},
        {"codebook_update": "ema", "fusion": "mlp"},
        {"table_gradient_share": 0.5},
        {"representation": "text_id"},
    ],
)
def test_the_text_of_cold_items_does_not_change_any_parameter(load, tiny, keys):
    states = []
    for _ in range(2):
        config, data = load("UniRep", **keys)
        state = trained(config, data).state_dict()
        states.append({name: state[name] for name in state if "item_text" not in name and "has_text" not in name})
        cold = tokens_of(data, np.arange(data.train.n_training_items, data.train.item_num))
        lines = (tiny / "tiny.item").read_text(encoding="utf-8").splitlines()
        lines = [line.replace("number", "zzz unheard of") if line.split("\t")[0] in cold else line for line in lines]
        (tiny / "tiny.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_id_part_of_cold_items_follows_cold_id_embedding(load, plain):
    ids = {}
    for fallback in ("untrained", "mean", "zero", "nearest"):
        config, data = load("UniRep", **{**plain, "cold_id_embedding": fallback, "epochs": 2})
        model = trained(config, data).eval()
        table, dim = model.item_embedding, config["id_embedding_size"]
        with torch.no_grad():
            ids[fallback] = table.weight[:, -dim:]
            torch.testing.assert_close(table(torch.tensor([1, model.n_items - 1])), table.weight[[1, -1]])
        assert len(table.weight) == model.n_items
    n_warm = data.train.n_training_items
    trained_rows = ids["untrained"][1:n_warm]
    assert all(torch.equal(rows[1:n_warm], trained_rows) for rows in ids.values())
    assert torch.equal(ids["mean"][n_warm:], trained_rows.mean(dim=0).expand(24, -1))
    assert not ids["zero"][n_warm:].any()
    text = torch.nn.functional.normalize(table.item_text_embedding, dim=-1)
    nearest = (text[n_warm:] @ text[1:n_warm].T).argmax(dim=-1)
    assert torch.equal(ids["nearest"][n_warm:], trained_rows[nearest])
    assert ids["untrained"][n_warm:].std() > 0


def test_metrics_of_warm_and_cold_targets_average_to_those_of_all(tiny):
    keys = {"data_path": str(tiny.parent), **KEYS, "run_dir": "run", "metric_decimal_place": 10}
    result = run_recbole("UniRep", "tiny", config_dict=keys)
    assert result["split"] == "cold_items" and result["cold_item_seed"] == 2020
    test = result["test_result"]
    assert list(test) == ["full", "full warm", "full cold"]
    _, _, data = load_data_and_model("run")
    n_cold = int((data.test.targets.items >= data.train.n_training_items).sum())
    share = n_cold / len(data.test)
    for metric in ("hit@10", "mrr"):
        mean = (1 - share) * test["full warm"][metric] + share * test["full cold"][metric]
        assert test["full"][metric] == pytest.approx(mean, abs=1e-6)
    assert test["full warm"] != test["full cold"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": "FM"}, "split=cold_items: RecBole's own training of FM takes negatives and softmax rows"),
        ({"training_rows": "prefix"}, "split=cold_items: RecBole's own training of UniRep takes negatives"),
        ({"split": "cold"}, "split=cold is not known: choose one of leave_one_out, cold_items"),
        ({"protocol": "recbole"}, "split=cold_items: protocol=recbole keeps RecBole's split: leave the key out"),
        ({"eval_args": {"split": {"RS": [8, 1, 1]}}}, "split=cold_items needs leave-one-out, eval_args splits by"),
        ({"representation": "id", "cold_id_embedding": "nearest"}, "cold_id_embedding=nearest needs item text"),
        ({"cold_id_embedding": "none"}, "cold_id_embedding=none is not known: choose one of mean, zero, nearest"),
        ({"cold_item_share": 2}, "cold_item_share=2 makes 236 of 118 items cold"),
    ],
)
def test_unsupported_settings_are_errors(tiny, keys, message):
    with pytest.raises(ValueError, match=message):
        run_recbole(
            keys.get("model", "UniRep"),
            "tiny",
            config_dict={"data_path": str(tiny.parent), **KEYS, **keys},
        )
