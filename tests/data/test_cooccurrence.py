"""Counts of items that follow each other in training."""

import numpy as np
import pytest
from recbole.data import create_dataset as recbole_dataset

from recbole_unirep.config import Config
from recbole_unirep.data.cooccurrence import following_counts, item_counts, item_transitions
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.data.split import load_data

SEQUENCES = UserSequences.from_arrays(np.array([1, 1, 1, 1, 1, 2, 2, 3]), np.array([4, 2, 5, 1, 3, 2, 5, 5]), 4)


def test_training_pairs_are_weighted_by_one_over_their_distance():
    counts = following_counts(SEQUENCES, np.array([0, 5, 2, 1]), 6, window=3).toarray()
    expected = {(4, 2): 1, (4, 5): 1 / 2, (4, 1): 1 / 3, (2, 5): 1 + 1, (2, 1): 1 / 2, (2, 3): 1 / 3, (5, 1): 1}
    expected |= {(5, 3): 1 / 2, (1, 3): 1}
    assert {(i, j): counts[i, j] for i, j in zip(*counts.nonzero())} == pytest.approx(expected)


def test_held_out_items_do_not_count():
    counts = following_counts(SEQUENCES, np.array([0, 3, 1, 0]), 6, window=3).toarray()
    assert {(i, j): counts[i, j] for i, j in zip(*counts.nonzero())} == {(4, 2): 1, (4, 5): 1 / 2, (2, 5): 1}


@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_successors_with_the_largest_counts_are_kept(tiny, most):
    config = Config("SASRec", "tiny", config_dict={"data_path": str(tiny.parent)})
    train = load_data(config, True).train
    whole, kept = item_transitions(train, most=1000), item_transitions(train, most)
    assert kept.scale.equal(whole.scale)
    n_cut = 0
    for item in range(train.item_num):
        all_of = slice(*whole.offsets[item : item + 2].tolist())
        successors, values = whole.items[all_of].tolist(), whole.values[all_of].tolist()
        best = sorted(sorted(zip(successors, values)), key=lambda pair: -pair[1])[:most]
        found = slice(*kept.offsets[item : item + 2].tolist())
        assert list(zip(kept.items[found].tolist(), kept.values[found].tolist())) == sorted(best)
        n_cut += len(successors) - len(best)
    assert (n_cut > 0) == (most < 50)


@pytest.mark.parametrize("one_row_a_user", [True, False])
def test_followers_are_scaled_by_the_root_of_the_items_total_count(tiny, one_row_a_user):
    config = Config("SASRec", "tiny", config_dict={"data_path": str(tiny.parent)})
    train = load_data(config, one_row_a_user).train
    transitions = item_transitions(train, most=1000)
    n_training = np.diff(train.sequences.offsets) - 2  # the last two are held out
    counts = following_counts(train.sequences, n_training.clip(min=0), train.item_num, window=3)
    assert transitions.offsets.tolist() == counts.indptr.tolist()
    assert len(transitions.values) == counts.nnz > 100
    total = counts.sum(axis=1)
    rows = np.repeat(np.arange(train.item_num), np.diff(counts.indptr))
    np.testing.assert_allclose(transitions.values, counts.data / np.sqrt(total[rows].clip(1)), rtol=1e-6)
    np.testing.assert_allclose(transitions.scale, 1 / np.sqrt(total.clip(1)), rtol=1e-6)


def test_a_stock_recbole_dataset_is_an_error():
    with pytest.raises(ValueError, match="transition_bias needs each user's items.*use run_recbole of recbole_unirep"):
        item_transitions(object(), most=3)


def test_item_counts_of_stock_recboles_dataset_are_ours(tiny):
    config = Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), "MAX_ITEM_LIST_LENGTH": 3})
    ours = item_counts(create_dataset(config).build_for_rows()[0])
    stock = recbole_dataset(config)
    theirs = item_counts(stock.build()[0])
    tokens = [dataset.field2id_token["item_id"] for dataset in (create_dataset(config), stock)]
    assert dict(zip(tokens[0], ours.tolist())) == dict(zip(tokens[1], theirs.tolist()))
    assert ours.sum() == len(stock.inter_feat) - 60  # rows are targets: without the first items of 60 users
