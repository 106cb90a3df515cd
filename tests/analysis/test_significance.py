"""Significance tests: values by hand, and rates of false positives on simulated data."""

import numpy as np
import pytest

from recbole_unirep.analysis.significance import difference, holm, resampled_means, user_values


def test_user_values_by_hand():
    ranks = np.array([1, 2, 3, 11])
    assert user_values("hit@10", ranks).tolist() == [1, 1, 1, 0]
    assert user_values("recall@2", ranks).tolist() == [1, 1, 0, 0]
    assert user_values("precision@2", ranks).tolist() == [0.5, 0.5, 0, 0]
    assert user_values("ndcg@10", ranks) == pytest.approx([1, 1 / np.log2(3), 0.5, 0])
    assert user_values("mrr@2", ranks).tolist() == [1, 0.5, 0, 0]
    assert user_values("mrr", ranks) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 11])
    assert user_values("map@3", ranks) == pytest.approx([1, 1 / 2, 1 / 3, 0])


@pytest.mark.parametrize("metric", ["gauc", "itemcoverage@10", "hit"])
def test_a_metric_that_does_not_follow_from_ranks_has_no_user_values(metric):
    assert user_values(metric, np.array([1, 2])) is None


def test_resampled_means_have_the_standard_error_of_the_mean():
    values = np.random.default_rng(1).normal(size=(400, 2))
    means = resampled_means(values, n_resamples=4000, seed=3)
    assert means.shape == (4000, 2)
    assert means.mean(axis=0) == pytest.approx(values.mean(axis=0), abs=0.005)
    assert means.std(axis=0) == pytest.approx(values.std(axis=0) / np.sqrt(400), rel=0.05)


def test_the_same_users_are_drawn_for_every_column_and_call():
    values = np.random.default_rng(1).normal(size=(50, 1))
    both = resampled_means(np.hstack([values, values]), n_resamples=20, seed=5)
    assert np.array_equal(both[:, 0], both[:, 1])
    assert np.allclose(both[:, :1], resampled_means(values, n_resamples=20, seed=5))


def test_draws_in_parts_equal_draws_at_once(monkeypatch):
    values = np.random.default_rng(1).normal(size=(50, 1))
    at_once = resampled_means(values, n_resamples=20, seed=5)
    monkeypatch.setattr("recbole_unirep.analysis.significance.USERS_AT_ONCE", 150)
    assert np.allclose(resampled_means(values, n_resamples=20, seed=5), at_once)


def drawn(generator, n_seeds, n_users=300, user_spread=0.2, seed_spread=0.05, shift=0.0):
    users = generator.normal(scale=user_spread, size=n_users)
    return [
        users + generator.normal(scale=user_spread, size=n_users) + generator.normal(scale=seed_spread) + shift
        for _ in range(n_seeds)
    ]


def test_equal_models_are_seldom_significantly_different():
    generator, p_values = np.random.default_rng(7), []
    for _ in range(200):
        found = compared(drawn(generator, 3), drawn(generator, 3))
        p_values.append(found.p_value)
    # Users of the two models are independent here. With 3 seeds a little over 5 % false positives is acceptable.
    assert np.mean(np.array(p_values) < 0.05) < 0.13
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.12)


def test_intervals_over_users_only_mistake_seed_noise_for_a_difference():
    generator, users_alone, both = np.random.default_rng(7), [], []
    for _ in range(100):
        ours = drawn(generator, 3, user_spread=0.01)
        theirs = drawn(generator, 3, user_spread=0.01)
        both.append(compared(ours, theirs).p_value < 0.05)
        found = compared(ours[:2], theirs[:2])
        users_alone.append(not found.low <= 0 <= found.high)
    assert np.mean(both) < 0.2 < 0.7 < np.mean(users_alone)


def compared(ours, theirs):
    ours, theirs = np.stack(ours, axis=1), np.stack(theirs, axis=1)
    again = resampled_means(np.hstack([ours, theirs]), n_resamples=500, seed=0)
    n = ours.shape[1]
    return difference(ours.mean(axis=0), theirs.mean(axis=0), again[:, :n], again[:, n:], seed=0)


def test_a_large_difference_is_found_with_its_sign():
    generator = np.random.default_rng(7)
    found = compared(drawn(generator, 3, shift=1.0), drawn(generator, 4))
    assert found.p_value == pytest.approx(2 / 501)
    assert 0.7 < found.low < found.mean < found.high < 1.3
    assert compared(drawn(generator, 3), drawn(generator, 3, shift=1.0)).high < 0


def test_fewer_than_three_seeds_have_an_interval_and_no_p_value():
    generator = np.random.default_rng(7)
    found = compared(drawn(generator, 2), drawn(generator, 3))
    assert found.p_value is None
    assert found.low < found.mean < found.high


def test_equal_runs_have_p_one():
    ours = drawn(np.random.default_rng(7), 3)
    assert compared([ours[0]] * 3, [ours[0]] * 3) == (0.0, 0.0, 0.0, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
