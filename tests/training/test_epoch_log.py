"""A long epoch says how long it will take, once, after its first steps or its first minute."""

import pytest

from recbole_unirep.training import epoch_log
from recbole_unirep.training.epoch_log import Pace
from recbole_unirep.training.trainer import EngineTrainer


@pytest.fixture
def said(monkeypatch, caplog):
    """Runs the steps of an epoch at a given pace; returns what it said, with the number of steps done by then."""

    def run(n_steps, seconds_per_step):
        clock = [0.0]
        monkeypatch.setattr(epoch_log, "perf_counter", lambda: clock[0])
        pace, lines = Pace(n_steps), []
        with caplog.at_level("INFO"):
            for step in range(1, n_steps + 1):
                clock[0] += seconds_per_step
                caplog.clear()
                pace.step()
                lines += [(step, message) for message in caplog.messages]
        return lines

    return run


def test_after_the_first_hundred_steps(said):
    assert said(5400, 0.1) == [(100, "about 9 min per epoch: 100 of 5,400 steps took 10 s")]
    assert said(100_000, 1.0) == [(60, "about 27.8 hours per epoch: 60 of 100,000 steps took 60 s")]


def test_after_the_first_minute_if_steps_are_slow(said):
    assert said(10, 45.0) == [(2, "about 8 min per epoch: 2 of 10 steps took 90 s")]


@pytest.mark.parametrize(("n_steps", "seconds"), [(500, 0.1), (99, 0.5), (1, 100.0), (100, 0.59)])
def test_an_epoch_that_is_short_or_almost_done_says_nothing(said, n_steps, seconds):
    assert said(n_steps, seconds) == []


def test_only_the_first_epoch_of_a_run_says_it(load, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(epoch_log, "FIRST_STEPS", 2)
    monkeypatch.setattr(epoch_log, "LONG", 0.0)
    config, data, model = load("SASRec", run_dir=str(tmp_path), users_per_batch=10, epochs=2)
    with caplog.at_level("INFO"):
        EngineTrainer(config, model).fit(data.train_data)
    assert sum("per epoch: 2 of" in message for message in caplog.messages) == 1
