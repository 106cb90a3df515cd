"""All kinds of models share one split: the same users, items, targets and candidates."""

import random

import numpy as np
import pytest
import torch
from recbole.data import create_dataset as recbole_dataset

from recbole_unirep.config import Config
from recbole_unirep.data.sequences import TrainingRows
from recbole_unirep.data.split import fit_schedule, load_data
from recbole_unirep.quick_start import load_data_of, plan_of

RECBOLE = {"protocol": "recbole"}
HEADER = "user_id:token item_id:token timestamp:float"
# Sequential, general and context-aware models: True trains on our rows, False on those of RecBole's loader.
KINDS = {"SASRec": True, "GRU4Rec": False, "BPR": False, "FM": False}


def held_out(part):
    """Returns user token, item token and number of earlier items of every target."""
    tokens = zip(part.user_tokens[part.targets.users.numpy()], part.item_tokens[part.targets.items.numpy()])
    return {(user, item, n) for (user, item), n in zip(tokens, part.targets.positions.tolist())}


@pytest.fixture(scope="module")
def ml_100k():
    return {
        model: load_data(Config(model, "ml-100k"), one_row_a_user=KINDS[model]) for model in ("SASRec", "BPR", "FM")
    }


def test_all_kinds_of_models_share_split_and_candidates(ml_100k):
    sasrec = ml_100k["SASRec"]
    assert len(sasrec.valid) == len(sasrec.test) == 943
    assert sasrec.train_data.n_targets == 100_000 - 3 * 943  # all but each user's first, validation and test item
    for data in (ml_100k["BPR"], ml_100k["FM"]):
        assert data.fingerprint == sasrec.fingerprint
        assert data.train.item_num == sasrec.train.item_num == 1683
        for split in ("valid", "test"):
            assert held_out(getattr(data, split)) == held_out(getattr(sasrec, split))
            assert getattr(data, split).candidates_hash == getattr(sasrec, split).candidates_hash
    assert sasrec.valid.candidates_hash != sasrec.test.candidates_hash


def test_targets_are_the_last_two_items_and_earlier_items_are_all_before(ml_100k):
    sequences = ml_100k["BPR"].train.sequences
    for data, from_end in ((ml_100k["BPR"].valid, 2), (ml_100k["BPR"].test, 1)):
        rows, items = data.earlier_of(torch.arange(len(data)))
        starts = np.cumsum([0, *data.targets.positions.tolist()])
        for row, user in enumerate(data.targets.users.tolist()):
            own = sequences.of(user)
            assert data.targets.items[row] == own[-from_end]
            assert items[starts[row] : starts[row + 1]].tolist() == own[:-from_end].tolist()
        assert rows.tolist() == np.repeat(np.arange(len(data)), np.diff(starts)).tolist()


def test_batches_hold_every_row_once(ml_100k):
    batches = ml_100k["SASRec"].test.batches(100)
    assert [len(batch) for batch in batches] == [100] * 9 + [43]
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(943))


def short_histories(write):
    """Writes users u1 to u7; user un has n items."""
    rows = [(f"u{user}", f"i{(3 * user + time) % 8}", time) for user in range(1, 8) for time in range(user)]
    random.Random(0).shuffle(rows)
    write(HEADER, rows)


@pytest.mark.parametrize("model", KINDS)
def test_short_histories_are_split_alike_for_all_models(write, configure, model):
    short_histories(write)
    data = load_data(configure(model), one_row_a_user=KINDS[model])
    assert isinstance(data.train_data, TrainingRows) == KINDS[model]
    assert {(user, n) for user, _, n in held_out(data.valid)} == {(f"u{n}", n - 2) for n in range(4, 8)}
    assert {(user, n) for user, _, n in held_out(data.test)} == {(f"u{n}", n - 1) for n in range(3, 8)}
    n_kept = sum([1, 2, 2, 2, 3, 4, 5])
    assert len(data.train.inter_feat) == n_kept - (7 if model in ("SASRec", "GRU4Rec") else 0)


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_leave_one_out_equals_recboles_for_long_enough_histories(write, configure, model):
    write(
        HEADER, [(f"u{user}", f"i{(3 * user + time) % 9}", time) for user in range(6) for time in range(4 + user % 3)]
    )
    ours = load_data(configure(model), one_row_a_user=KINDS[model])
    recboles = recbole_dataset(configure(model)).build()
    for part, recboles_part in zip((ours.train, ours.valid.dataset, ours.test.dataset), recboles):
        for field in ("user_id", "item_id"):
            assert part.inter_feat[field].tolist() == recboles_part.inter_feat[field].tolist()


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_targets_that_are_not_the_last_are_an_error(write, configure, model):
    write(HEADER, [(f"u{user}", f"i{(3 * user + time) % 29}", time) for user in range(9) for time in range(12)])
    split = {"split": {"RS": [0.6, 0.2, 0.2]}, "group_by": "user", "mode": "full"}
    in_order = load_data(configure(model, eval_args={**split, "order": "TO"}), one_row_a_user=KINDS[model])
    assert len(in_order.test) == 18
    if model == "BPR":  # for sequential models RecBole itself raises an error
        with pytest.raises(ValueError, match="not each user's last: use split"):
            load_data(configure(model, eval_args={**split, "order": "RO"}), one_row_a_user=False)


def test_too_little_data_is_an_error(write, configure):
    write(HEADER, [(f"u{user}", f"i{time}", time) for user in range(5) for time in range(3)])
    with pytest.raises(ValueError, match="made: eval_args .* users with at least 4 interactions"):
        load_data(configure("SASRec"), one_row_a_user=True)


def test_a_split_given_as_files_is_an_error(write, configure, tmp_path):
    short_histories(write)
    for part in ("train", "valid", "test"):
        (tmp_path / "data" / "made" / f"made.{part}.inter").write_bytes(
            (tmp_path / "data/made/made.inter").read_bytes()
        )
    with pytest.raises(ValueError, match="benchmark_filename.*made.inter"):
        load_data(configure("BPR", benchmark_filename=["train", "valid", "test"]), one_row_a_user=False)


@pytest.mark.parametrize("negatives", [{"distribution": "popularity", "sample_num": 1}, {"sample_num": 3}])
def test_negatives_that_our_rows_do_not_support_are_an_error(write, configure, negatives):
    short_histories(write)
    config = configure("SASRec", loss_type="BPR", train_neg_sample_args=negatives)
    with pytest.raises(ValueError, match="one uniform negative.*training_rows=prefix"):
        load_data(config, one_row_a_user=True)
    assert len(load_data(config, one_row_a_user=False).train_data) == 1


def test_negatives_of_a_general_model_are_outside_the_users_training_items(write, configure):
    write(HEADER, [(f"u{user}", f"i{(user + time) % 9}", time) for user in range(9) for time in range(7)])
    data = load_data(configure("BPR"), one_row_a_user=False)
    trained = set(zip(data.train.inter_feat["user_id"].tolist(), data.train.inter_feat["item_id"].tolist()))
    drawn = {
        (user, item)
        for _ in range(20)
        for batch in data.train_data
        for user, item in zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist())
    }
    assert drawn and drawn.isdisjoint(trained)


@pytest.mark.parametrize(
    ("steps_per_epoch", "given", "expected"),
    [
        (176, {}, (12, 12)),  # Amazon Beauty
        (109, {}, (12, 12)),  # ml-100k
        (3, {}, (434, 434)),
        (9000, {}, (12, 12)),
        (3, {"epochs": 7}, (7, 7)),
        (3, {"stopping_step": 5}, (434, 5)),
    ],
)
def test_the_schedule_follows_from_the_number_of_steps(steps_per_epoch, given, expected):
    config = {"epochs": None, "stopping_step": None, **given}
    fit_schedule(config, steps_per_epoch)
    assert (config["epochs"], config["stopping_step"]) == expected


@pytest.mark.parametrize("keys", [{"training_rows": rows} for rows in ("user", "target", "prefix")] + [RECBOLE])
def test_every_loader_sets_the_open_schedule(keys):
    config = Config("UniRep", "ml-100k", config_dict=keys)
    assert config["epochs"] is config["stopping_step"] is None
    data = load_data_of(config, plan_of(config))
    assert config["epochs"] == config["stopping_step"] == max(12, -(-1300 // len(data.train_data)))
    assert config.resolved["epochs"] is None  # the run's config.yaml repeats the rule
