"""Recommender ranks as evaluation does, for known users and any history of items."""

import threading

import numpy as np
import pytest
import torch

import recbole_unirep
from recbole_unirep.data.candidates import tie_priority
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.evaluation import rank_targets
from recbole_unirep.scoring.scorers import make_scorer
from recbole_unirep.serving import recommender as serving
from recbole_unirep.serving.recommender import Recommender

SMALL = {
    "hidden_size": 16,
    "inner_size": 16,
    "embedding_size": 16,
    "MAX_ITEM_LIST_LENGTH": 6,
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "text_encoder": "lexical",
    "lexical_dim": 16,
    "show_progress": False,
    "epochs": 1,
    "protocol": "full_unseen",
    "use_gpu": False,
}
ADDED = {"repeat_bias": True, "transition_bias": 2, "history_similarity": 1.5, "popularity_bias": 0.2}
SLOW = {"epochs": 1, "num_beams": 20, "n_layers": 1}
BEAMS = ("TIGER", "LIGER", "EAGER", "ActionPiece")
CASES = {
    "UniRep": ("UniRep", {}),
    "UniRep semantic": ("UniRep", {"representation": "semantic", "code_dim": 16}),
    "UniRep id": ("UniRep", {"representation": "id", "code_dim": 16}),
    "UniRep text_id": ("UniRep", {"representation": "text_id"}),
    "UniRep with all score additions": ("UniRep", ADDED),
    "UniRep over BERT4Rec": ("UniRep", {"backbone": "BERT4Rec"}),
    "VQRec": ("VQRec", {"n_levels": 4, "code_embedding_size": 16}),
    "TextKNN": ("TextKNN", {}),
    "TIGER": ("TIGER", SLOW),
    "LIGER": ("LIGER", SLOW),
    "EAGER": ("EAGER", {**SLOW, "codebook_size": 8, "behaviour_codebook_size": 8}),
    "ActionPiece": (
        "ActionPiece",
        {**SLOW, "n_levels": 4, "codebook_size": 8, "vocabulary_size": 200, "n_segmentations": 2},
    ),
    "RPG": ("RPG", {**SLOW, "n_levels": 4}),
    "HSTU": ("HSTU", {}),
    "SASRec": ("SASRec", {}),
    "SASRec, cold items": ("SASRec", {"split": "cold_items", "cold_item_share": 0.2}),
    "GRU4Rec": ("GRU4Rec", {}),
    "Caser": ("Caser", {}),
    "BERT4Rec": ("BERT4Rec", {}),
    "BPR": ("BPR", {}),
    "ItemKNN": ("ItemKNN", {}),
    "FM": ("FM", {}),
}


@pytest.fixture
def run(tiny, tmp_path):
    """Trains a model for one epoch; returns the run's folder."""

    def train(model="SASRec", **keys):
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        keys = {"data_path": str(tiny.parent), "run_dir": str(folder), **SMALL, **keys}
        run_recbole(model, "tiny", config_dict=keys)
        return folder

    return train


@pytest.fixture
def sasrec(run):
    return Recommender.load(run())


def histories(recommender, users):
    """Whole histories of known users, as item tokens."""
    ids = (recommender.user_ids[user] for user in users)
    return [recommender.item_tokens[recommender.sequences.of(number)].tolist() for number in ids]


@pytest.mark.parametrize("case", CASES)
def test_top_items_and_scores_equal_those_of_evaluation(run, case):
    model, keys = CASES[case]
    folder = run(model, **keys)
    config, model, data = load_data_and_model(folder)
    sizes = {"batch_size": config["eval_batch_size"], "scores_at_once": config["scores_at_once"]}
    ranking = rank_targets(model, data.test, ["full_unseen"], **sizes, n_top=10, device=config["device"])["full_unseen"]
    scores = np.zeros((len(data.test), 10), dtype=np.float32)
    with torch.no_grad():
        scorer = make_scorer(model, data.test, whole=True, device=config["device"], **sizes)
        for rows in data.test.batches(scorer.batch_size):
            place = torch.arange(len(rows)).repeat_interleave(10)
            scores[rows] = scorer(rows).pairs(place, ranking.items[rows].flatten()).view(-1, 10)
    users = data.test.user_tokens[data.test.targets.users.numpy()].tolist()

    recommender = Recommender.load(folder)
    before = [history[:-1] for history in histories(recommender, users)]
    found = recommender.recommend(items=before, users=users, k=10)
    assert [row.user for row in found] == users
    for row, best, values in zip(found, ranking.items, scores):
        n_found = len(row.items)
        assert row.items == data.test.item_tokens[best[:n_found]].tolist()
        assert n_found == 10 or case in BEAMS  # beam search may find fewer unseen items
        assert row.scores == values[:n_found].tolist()


def test_scores_equal_those_of_the_model(sasrec):
    (row,) = sasrec.recommend(users=["u7"], k=5)
    ids = torch.from_numpy(sasrec.sequences.of(sasrec.user_ids["u7"])[-6:])
    item_seq = torch.nn.functional.pad(ids, (0, 6 - len(ids)))[None]
    interaction = {sasrec.model.ITEM_SEQ: item_seq, sasrec.model.ITEM_SEQ_LEN: torch.tensor([len(ids)])}
    with torch.no_grad():
        scores = sasrec.model.full_sort_predict(interaction)[0]
    scores[sasrec.sequences.of(sasrec.user_ids["u7"])] = -torch.inf
    scores[0] = -torch.inf
    best = scores.topk(5)
    assert row.items == sasrec.item_tokens[best.indices].tolist()
    assert row.scores == pytest.approx(best.values.tolist(), abs=1e-5)


def test_the_whole_history_of_a_known_user_is_read_and_its_items_are_excluded(sasrec):
    (history,) = histories(sasrec, ["u3"])
    (row,) = sasrec.recommend(users=["u3"], k=20)
    assert row == sasrec.recommend(items=[history], k=20)[0]._replace(user="u3")
    assert row != sasrec.recommend(items=[history[:-1]], k=20)[0]._replace(user="u3")
    assert not set(row.items) & set(history)
    everything = sasrec.recommend(users=["u3"], k=118, keep_earlier=True)[0]
    assert set(history) <= set(everything.items) and len(everything.items) == 118
    assert [item for item in everything.items if item not in history][:20] == row.items


def test_rows_keep_their_order_for_any_number_of_rows_at_once(sasrec, monkeypatch):
    users = [f"u{number}" for number in (9, 3, 58, 3, 0, 41, 17)]
    whole = sasrec.recommend(users=users, k=7)
    assert [row.user for row in whole] == users
    monkeypatch.setattr(serving, "ROWS_AT_ONCE", 2)
    assert [row.items for row in sasrec.recommend(users=users, k=7)] == [row.items for row in whole]
    assert {row.user for row in sasrec.stream(k=1)} == set(sasrec.user_tokens[1:].tolist())


@pytest.mark.parametrize("scores_at_once", [60, 7000, 30000])
def test_results_do_not_depend_on_the_block_size(sasrec, scores_at_once):
    whole = sasrec.recommend(k=3)
    sasrec.config["scores_at_once"] = scores_at_once  # blocks of 1, 13 and 58 items
    blocks = sasrec.recommend(k=3)
    assert [row.items for row in blocks] == [row.items for row in whole]


def test_equal_scores_are_ranked_in_the_order_of_evaluation(sasrec):
    with torch.no_grad():
        sasrec.model.item_embedding.weight.zero_()
    (row,) = sasrec.recommend(items=[["i1", "i2"]], k=118)
    order = np.argsort(tie_priority(sasrec.item_tokens, 2020)[1:].numpy()) + 1
    assert row.items == [token for token in sasrec.item_tokens[order] if token not in ("i1", "i2")]


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "TIGER"])
def test_candidates_restrict_what_is_recommended(run, model):
    recommender = Recommender.load(run(model, exact_ranking=True) if model == "TIGER" else run(model))
    tokens = recommender.item_tokens.tolist()
    listed, history = tokens[1:81:2], [tokens[1], tokens[3], tokens[2]]
    for k in (5, 40):
        (row,) = recommender.recommend(items=[history], k=k, candidates=listed)
        (whole,) = recommender.recommend(items=[history], k=115)
        assert row.items == [item for item in whole.items if item in listed][:k]
        assert len(row.items) == min(k, 38)  # two of the forty are in the history


def test_a_generative_model_scores_candidates_that_beam_search_misses(run):
    recommender = Recommender.load(run("TIGER", **SLOW))
    listed = recommender.item_tokens[1:61].tolist()
    (row,) = recommender.recommend(items=[["i1", "i2", "i3"]], k=50, candidates=listed)
    assert len(row.items) == 50 and np.isfinite(row.scores).all()


def test_a_run_with_protocol_recbole_excludes_seen_items_too(run):
    recommender = Recommender.load(run("SASRec", protocol="recbole", valid_metric="NDCG@10"))
    (history,) = histories(recommender, ["u3"])
    (row,) = recommender.recommend(users=["u3"])
    assert len(row.items) == 10 and not set(row.items) & set(history)
    assert row.items == recommender.recommend(items=[history])[0].items


def test_a_history_that_covers_the_candidates_leaves_fewer(sasrec):
    tokens = sasrec.item_tokens[1:].tolist()
    short, none = sasrec.recommend(items=[tokens[:-3], tokens], k=10)
    assert sorted(short.items) == sorted(tokens[-3:])
    assert none.items == none.titles == none.scores == []


def test_titles_come_from_the_item_file(sasrec, tiny):
    lines = (tiny / "tiny.item").read_text(encoding="utf-8").splitlines()[1:]
    titles = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    (row,) = sasrec.recommend(users=["u0"], k=100)
    assert row.titles == [titles[item] for item in row.items]
    assert "i119" not in row.items or row.titles[row.items.index("i119")] == ""


def test_without_an_item_file_titles_are_empty(run, tiny):
    folder = run()
    (tiny / "tiny.item").unlink()
    (row,) = recbole_unirep.recommend(folder, items=[["i1"]], k=3)
    assert row.user is None and row.titles == ["", "", ""]


def test_the_function_returns_what_the_class_returns(run):
    folder = run("GRU4Rec")
    recommender = recbole_unirep.Recommender.load(folder)
    given = {"candidates": recommender.item_tokens[1:50].tolist(), "keep_earlier": True}
    expected = recommender.recommend(users=["u1", "u2"], k=4, **given)
    assert recbole_unirep.recommend(folder, users=["u1", "u2"], k=4, **given) == expected


def test_threads_share_one_recommender(run):
    recommender = Recommender.load(run("UniRep", **ADDED))
    users = [f"u{number}" for number in range(60)]
    expected, found = recommender.recommend(users=users, k=5), {}

    def ask(first):
        found[first] = recommender.recommend(users=users[first::6], k=5)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {first: [row.items for row in rows] for first, rows in found.items()} == {
        first: [row.items for row in expected[first::6]] for first in range(6)
    }


@pytest.mark.parametrize("keep_earlier", [False, True])
def test_faiss_returns_what_exact_ranking_returns(run, plain, keep_earlier):
    folder = run("UniRep", **{**plain, "representation": "unified", "epochs": 1})
    exact = recbole_unirep.recommend(folder, k=30, keep_earlier=keep_earlier)
    assert recbole_unirep.recommend(folder, k=30, keep_earlier=keep_earlier, index="faiss") == exact
    indexed = Recommender.load(folder, index="faiss")
    assert indexed.recall(k=30) == (1.0, 60)
    with torch.no_grad():
        table = indexed.model.item_embedding.weight
    assert len(indexed.index) == len(table) - 1


def test_equal_scores_from_an_index_are_ranked_in_the_order_of_evaluation(sasrec):
    with torch.no_grad():
        # more ties than the index is queried for
        sasrec.model.item_embedding.weight[2:] = sasrec.model.item_embedding.weight[1]
    indexed = Recommender(sasrec.config, sasrec.model, sasrec.dataset, index="faiss")
    order = np.argsort(tie_priority(sasrec.item_tokens, 2020)[1:].numpy()) + 1
    for recommender in (sasrec, indexed):
        (row,) = recommender.recommend(items=[["i1", "i2"]], k=10)
        assert row.items == [token for token in sasrec.item_tokens[order] if token not in ("i1", "i2")][:10]


def test_hnsw_reports_its_recall_and_gives_exact_scores(run):
    folder = run("SASRec")
    exact = {row.user: dict(zip(row.items, row.scores)) for row in recbole_unirep.recommend(folder, k=100)}
    indexed = Recommender.load(folder, index="hnsw")
    recall, n_rows = indexed.recall(k=10)
    assert n_rows == 60 and 0.5 < recall <= 1
    for row in indexed.stream(k=10):
        assert len(row.items) == 10
        assert row.scores == sorted(row.scores, reverse=True)
        assert all(exact[row.user].get(item, score) == score for item, score in zip(row.items, row.scores))


def test_an_index_that_finds_wrong_items_has_low_recall(run, monkeypatch):
    indexed = Recommender.load(run("SASRec"), index="hnsw")
    worst = torch.arange(1, 41).expand(60, -1)
    monkeypatch.setattr(indexed.index, "search", lambda states, n: (torch.zeros(len(states), 40), worst))
    assert indexed.recall(k=10)[0] < 0.9
