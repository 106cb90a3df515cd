"""RPG: scores and losses by hand, exact and graph ranking, and runs."""

import pytest
import torch
from recbole.utils import init_seed
from torch.nn import functional

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols

SMALL = {
    "text_encoder": "lexical",
    "lexical_dim": 8,
    "n_levels": 4,
    "codebook_size": 8,
    "hidden_size": 8,
    "inner_size": 12,
    "users_per_batch": 16,
    "num_beams": 12,
    "topk": [10],
    "graph_neighbours": 6,
    "show_progress": False,
    "use_gpu": False,
}
KINDS = {
    "OPQ": {},
    "variable length": {"tokenizer": "HierarchicalKMeans"},
    "colliding": {"codebook_size": 2, "n_levels": 2},
}


@pytest.fixture(params=KINDS, ids=list(KINDS))
def case(request, tiny):
    config = Config("RPG", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **KINDS[request.param]})
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, trains_rows(config))
    model = build_model(config, data.train).eval()
    torch.nn.init.normal_(model.head_weight, std=0.1)  # its initial value is 0
    return data, model


def by_hand(model, history):
    """Log-likelihood of every item after one history, level by level, shape: [n_items - 1]."""
    state = model._states(history[None])[0, -1]
    total = torch.zeros(model.n_items - 1)
    first = 1
    for level, size in enumerate(model.ids.codebook_sizes):
        head = state + functional.silu(state @ model.head_weight[level] + model.head_bias[level, 0])
        vectors = model.tokens.weight[first : first + size]
        logits = functional.cosine_similarity(head[None], vectors, dim=-1) / model.temperature
        of_items = logits.log_softmax(dim=0)[model.ids.codes[1:, level]]
        total += of_items.masked_fill(model.ids.is_past_end[1:, level], 0)
        first += size
    return total


@torch.no_grad()
def test_exact_ranking_and_predict_sum_the_levels(case):
    data, model = case
    batch = data.test.interactions[torch.arange(5)]
    scores = model.full_sort_predict(batch)
    candidates = torch.arange(1, model.n_items).expand(5, -1)
    pairs = model.candidate_scores(model.memory_of(batch), candidates)
    for row, history in enumerate(batch[model.ITEM_SEQ]):
        expected = by_hand(model, history[history > 0])
        torch.testing.assert_close(scores[row, 1:], expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(pairs[row], expected, rtol=1e-4, atol=1e-4)
    same_id = model.ids.trie.leaf[:, None] == model.ids.trie.leaf
    assert (scores[:, 1:, None] == scores[:, None, 1:])[:, same_id].all()


@torch.no_grad()
def test_the_graph_finds_ids_with_their_exact_scores(case):
    data, model = case
    batch = data.test.interactions[torch.arange(5)]
    exact = model.full_sort_predict(batch)
    model.exact_ranking = False
    found = model.full_sort_predict(batch)
    is_found = found > -torch.inf
    torch.testing.assert_close(found[is_found], exact[is_found])
    n_ids = [len(model.ids.trie.leaf[row[1:]].unique()) for row in is_found]
    assert n_ids == [min(model.num_beams, model.ids.trie.n_leaves)] * 5
    model.num_beams = model.n_items
    torch.testing.assert_close(model.full_sort_predict(batch), exact)


@torch.no_grad()
def test_the_loss_is_the_likelihood_of_the_targets(case):
    data, model = case
    batch = next(iter(data.train_data))
    (loss,) = model.row_losses(batch)
    likelihoods = []
    for (row, place), target in zip(batch.is_target.nonzero().tolist(), batch.targets):
        likelihoods.append(by_hand(model, batch.inputs[row, : place + 1])[target - 1])
    torch.testing.assert_close(loss, -torch.stack(likelihoods).mean() / model.ids.n_levels, rtol=1e-4, atol=1e-4)


def test_an_item_is_read_as_the_mean_of_its_codes(case):
    _, model = case
    tokens = model.tokens_of(torch.tensor([3]))[0]
    kept = model.tokens.weight[tokens[tokens > 0]].mean(dim=0)
    model.position_embedding.weight.data.zero_()
    model.encoder.forward = lambda x, *_: [x]
    torch.testing.assert_close(model._states(torch.tensor([[3]]))[0, 0], model.norm(kept))


def test_the_graph_is_rebuilt_after_training(case):
    data, model = case
    model.exact_ranking = False
    batch = data.test.interactions[torch.arange(2)]
    with torch.no_grad():
        model.full_sort_predict(batch)
    before = model._graph
    assert before is not None
    model.train()
    assert model._graph is None
    model.eval().load_state_dict(model.state_dict())
    assert model._graph is None


@pytest.mark.parametrize("exact", [True, False])
def test_a_run_learns_ranks_all_protocols_and_reloads_unchanged(tiny, exact):
    keys = {"data_path": str(tiny.parent), **SMALL, "epochs": 3, "run_dir": "run", "learning_rate": 0.01}
    result = run_recbole("RPG", "tiny", config_dict={**keys, "exact_ranking": exact})
    assert set(result["test_result"]) == {"uni99", "full", "full_unseen"}
    config, model, data = load_data_and_model("run")
    assert result["item_table_parameters"] == 8 * sum(model.ids.codebook_sizes)
    assert evaluate_protocols(model, data.test, list(result["test_result"]), config, None) == result["test_result"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"residual_dropout_prob": "much"}, "residual_dropout_prob=much is no probability"),
        ({"residual_dropout_prob": 1.5}, "residual_dropout_prob=1.5 is no probability: give a number from 0 to 1"),
        ({"temperature": 0}, "temperature=0 divides the products: give a number above 0"),
        ({"graph_steps": -1}, "graph_steps=-1 is too small"),
        ({"num_beams": 9, "exact_ranking": False}, "num_beams=9 finds fewer items than topk=10 asks for"),
    ],
)
def test_options_out_of_their_range_are_refused(tiny, keys, message):
    with pytest.raises(ValueError, match=message):
        run_recbole("RPG", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})
