"""UniRep's changes to the backbone's input and scores: local convolution, projection, cosine, score bias."""

import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn import functional

from recbole_unirep.scoring.evaluation import rank_targets
from recbole_unirep.scoring.model_contract import sequence_states


def interaction(data):
    return data.test.interactions


@pytest.fixture
def prepare(prepare, plain):
    """As the shared fixture, without the default's additions, which each test names."""
    return lambda **keys: prepare(**{**plain, **keys})


@pytest.mark.parametrize("backbone", ["SASRec", "GRU4Rec", "HSTU"])
def test_an_output_projection_maps_the_backbones_states(prepare, backbone):
    _, data, model = prepare(backbone=backbone, output_projection=True, MAX_ITEM_LIST_LENGTH=6)
    _, _, plain = prepare(backbone=backbone, MAX_ITEM_LIST_LENGTH=6)
    missing = plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("output_")})
    assert not missing.missing_keys
    model.eval(), plain.eval()
    with torch.no_grad():
        scores, single = model.full_sort_predict(interaction(data)), model.predict(interaction(data))
        table = plain.item_embedding.weight[: plain.n_items]
        states = model.output_projection(plain._last_state(interaction(data)))
        length = interaction(data)["item_length"]
        every = model.sequence_states(interaction(data)["item_id_list"])[torch.arange(len(length)), length - 1]
    torch.testing.assert_close(scores, states @ table.T)
    torch.testing.assert_close(every, states)
    torch.testing.assert_close(single, scores.gather(1, data.test.targets.items[:, None])[:, 0])


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["SASRec", "GRU4Rec", "HSTU"])
def test_a_local_convolution_adds_the_previous_items(prepare, backbone):
    _, data, model = prepare(backbone=backbone, local_convolution=2, MAX_ITEM_LIST_LENGTH=6)
    _, _, plain = prepare(backbone=backbone, MAX_ITEM_LIST_LENGTH=6)
    model.eval(), plain.eval()
    convolution, table = model.backbone.local_convolution, model.item_embedding
    convolution.bias.fill_(0.25)
    item_seq = interaction(data)["item_id_list"]
    embedded = table(item_seq)
    before = torch.cat([torch.zeros_like(embedded[:, :1]), embedded[:, :-1]], dim=1)
    expected = 0.25 + convolution.weight[1] * embedded + convolution.weight[0] * before
    torch.testing.assert_close(convolution(embedded), expected)

    scores = model.full_sort_predict(interaction(data))
    torch.testing.assert_close(
        model.predict(interaction(data)), scores.gather(1, data.test.targets.items[:, None])[:, 0]
    )
    changed = item_seq.clone()
    changed[:, -1] = 1 + changed[:, -1] % 5
    states = model.sequence_states(item_seq)
    torch.testing.assert_close(model.sequence_states(changed)[:, :-1], states[:, :-1])  # no state sees later items
    for parameter in convolution.parameters():
        parameter.zero_()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "local_convolution" not in k})
    torch.testing.assert_close(model.sequence_states(item_seq), plain.sequence_states(item_seq))
    torch.testing.assert_close(model.full_sort_predict(interaction(data)), plain.full_sort_predict(interaction(data)))


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["SASRec", "GRU4Rec", "HSTU"])
def test_cosine_similarity_depends_on_directions_only(prepare, backbone):
    keys = {"backbone": backbone, "MAX_ITEM_LIST_LENGTH": 6, "output_projection": True}
    _, data, model = prepare(similarity="cosine", temperature=0.5, **keys)
    model.eval()
    batch = interaction(data)
    states, table = model._last_state(batch), model.item_embedding.weight
    torch.testing.assert_close(states.norm(dim=1), torch.full((len(batch),), 2.0))
    length = torch.ones(model.n_items)
    length[0] = 0
    torch.testing.assert_close(table[: model.n_items].norm(dim=1), length)
    scores = model.full_sort_predict(batch)
    inner = model.output_projection(sequence_states(model.backbone)(batch["item_id_list"]))
    last = inner[torch.arange(len(batch)), batch["item_length"] - 1]
    expected = 2 * functional.cosine_similarity(last[:, None], table[None, 1 : model.n_items], dim=-1)
    torch.testing.assert_close(scores[:, 1:], expected)
    assert not scores[:, 0].any()
    torch.testing.assert_close(model.predict(batch), scores.gather(1, data.test.targets.items[:, None])[:, 0])


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_recboles_own_loader_trains_an_output_projection(prepare, loss_type):
    _, data, model = prepare(output_projection=True, loss_type=loss_type, training_rows="prefix")
    sum(model.calculate_loss(next(iter(data.train_data)))).backward()
    assert model.output_projection.weight.grad.abs().sum() > 0


def test_user_sequences_and_prefixes_have_the_same_loss_with_an_output_projection(prepare):
    keys = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "users_per_batch": 1000, "train_batch_size": 10000}
    _, rows, model = prepare(output_projection=True, **keys)
    _, prefixes, same = prepare(output_projection=True, training_rows="prefix", **keys)
    same.load_state_dict(model.state_dict())
    by_row, by_prefix = (
        model.row_losses(next(iter(rows.train_data))),
        same.calculate_loss(next(iter(prefixes.train_data))),
    )
    torch.testing.assert_close(by_row[0], by_prefix[0])


def without_bias(model):
    return {name: part for name, part in model.state_dict().items() if not name.startswith("score_bias")}


@pytest.mark.parametrize(
    "keys",
    [{}, {"output_projection": True, "local_convolution": 3}, {"similarity": "cosine"}, {"representation": "id"}],
)
def test_the_repeat_bias_is_added_to_items_of_the_sequence_in_every_score_and_loss(prepare, keys):
    fixed = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "users_per_batch": 1000, "train_batch_size": 10000}
    _, rows, model = prepare(repeat_bias=True, **keys, **fixed)
    _, prefixes, same = prepare(repeat_bias=True, training_rows="prefix", **keys, **fixed)
    _, _, plain = prepare(**keys)
    bias = model.score_bias
    assert bias.weights == {"repeat_bias": 0}
    bias.repeat_level.data.fill_(-0.4)
    same.load_state_dict(model.state_dict())
    by_row = model.row_losses(next(iter(rows.train_data)))[0]
    by_prefix = same.calculate_loss(next(iter(prefixes.train_data)))[0]
    torch.testing.assert_close(by_row, by_prefix)
    assert torch.autograd.grad(by_row, bias.repeat_level)[0] > 0  # a step lowers the bias, as no user repeats an item

    model.eval(), plain.eval()
    plain.load_state_dict(without_bias(model))
    batch = interaction(rows)
    with torch.no_grad():
        difference = model.full_sort_predict(batch) - plain.full_sort_predict(batch).view(len(batch), -1)
        is_read = torch.zeros_like(difference).scatter_(1, batch["item_id_list"], 1.0)
        is_read[:, 0] = 0
        torch.testing.assert_close(difference, -4 * is_read, rtol=0, atol=1e-5)
        for item in (1, 3):
            batch.update(Interaction({"item_id": torch.full((len(batch),), item)}))
            torch.testing.assert_close(model.predict(batch), model.full_sort_predict(batch)[:, item])


@pytest.mark.parametrize("training_rows", ["user", "target"])
def test_the_transition_bias_is_added_to_followers_of_the_last_items_and_is_learned(prepare, training_rows):
    keys = {"transition_bias": 2, "repeat_bias": True, "training_rows": training_rows}
    _, data, model = prepare(**keys, users_per_batch=1000, train_batch_size=10000)
    _, _, plain = prepare()
    bias = model.score_bias
    bias.transition_level.data.copy_(torch.tensor([0.3, 0.1]))
    batch = next(iter(data.train_data))
    loss = model.row_losses(batch)[0]
    assert torch.autograd.grad(loss, bias.transition_level)[0].ne(0).all()

    model.eval(), plain.eval()
    plain.load_state_dict(without_bias(model))
    batch = interaction(data)
    with torch.no_grad():
        difference = model.full_sort_predict(batch) - plain.full_sort_predict(batch).view(len(batch), -1)
        expected = torch.zeros_like(difference)
        for row, (items, length) in enumerate(zip(batch["item_id_list"].tolist(), batch["item_length"].tolist())):
            for item, weight in zip(items[:length][::-1], (3.0, 1.0)):
                entries = slice(bias.offsets[item], bias.offsets[item + 1])
                expected[row, bias.items[entries]] += weight * bias.values[entries]
        torch.testing.assert_close(difference, expected, rtol=0, atol=1e-5)
        assert expected.abs().sum() > 1
        item = expected.argmax(dim=1)
        batch.update(Interaction({"item_id": item}))
        torch.testing.assert_close(model.predict(batch), model.full_sort_predict(batch).gather(1, item[:, None])[:, 0])


@pytest.mark.parametrize("length", [50, 4])
def test_the_transition_bias_has_the_same_gradient_in_both_kinds_of_rows(prepare, length):
    """A row's own future is not counted, neither in user sequences nor in rows per target, even if a row is cut."""
    keys = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "users_per_batch": 1000, "train_batch_size": 10000}
    keys |= {"MAX_ITEM_LIST_LENGTH": length, "transition_bias": 3, "dead_code_steps": 0}
    gradients = []
    for training_rows in ("user", "target"):
        _, data, model = prepare(training_rows=training_rows, **keys)
        model.item_embedding.id_embedding.weight.data.zero_()
        model.item_embedding.tokenizer.quantizer.codebooks.data.zero_()  # all dot products are equal
        (batch,) = data.train_data
        gradients.append(torch.autograd.grad(model.row_losses(batch)[0], model.score_bias.transition_level)[0])
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().min() > 0


@torch.no_grad()
def test_items_without_text_have_zero_directions(prepare, tiny):
    lines = (tiny / "tiny.item").read_text(encoding="utf-8").splitlines()
    empty = [lines[0], *(f"{line.split(chr(9))[0]}\t\t\t" if n < 30 else line for n, line in enumerate(lines[1:]))]
    (tiny / "tiny.item").write_text("\n".join(empty) + "\n", encoding="utf-8")
    for keys in ({}, {"tokenizer": "RQKMeans", "codebook_size": 4}):
        _, data, model = prepare(history_similarity=1.0, **keys)
        model.eval()
        ids = torch.arange(model.n_items)
        has_text = torch.tensor([False] + [not str(t)[1:].isdigit() or 30 <= int(str(t)[1:]) < 119
                                           for t in data.train.field2id_token["item_id"][1:]])  # fmt: skip
        length = model._directions(ids).norm(dim=1)
        torch.testing.assert_close(length, has_text.float())


@torch.no_grad()
def test_cold_items_with_untrained_ids_have_zero_directions(prepare):
    _, _, model = prepare(history_similarity=1.0, representation="id", split="cold_items", cold_item_share=0.2)
    length = model.eval().item_embedding.directions(torch.arange(1, model.n_items)).norm(dim=1)
    n_trained = model.n_training_items - 1
    assert not length[n_trained:].any() and len(length[n_trained:]) > 5
    torch.testing.assert_close(length[:n_trained], torch.ones(n_trained))


def test_ranking_weights_do_not_change_the_loss(prepare):
    losses = []
    for keys in ({}, {"history_similarity": 2.0, "popularity_bias": 0.5}):
        for rows in ("user", "prefix"):
            _, data, model = prepare(training_rows=rows, hidden_dropout_prob=0.0, attn_dropout_prob=0.0, **keys)
            batch = next(iter(data.train_data))
            torch.manual_seed(0)
            losses.append((model.row_losses if rows == "user" else model.calculate_loss)(batch)[0].item())
    assert losses[:2] == losses[2:]


ALL_BIASES = {"transition_bias": 3, "repeat_bias": True, "history_similarity": 4.0, "popularity_bias": 2.0}


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_ranks_include_all_score_additions(prepare, similarity):
    """The engine's ranks equal those computed from `full_sort_predict`, which agrees with `predict`."""
    config, data, model = prepare(similarity=similarity, **ALL_BIASES)
    model.score_bias.transition_level.data.fill_(0.5)
    model.eval()
    sizes = {"batch_size": 7, "scores_at_once": 1000, "n_top": 0, "device": torch.device("cpu")}
    ranks = rank_targets(model, data.test, ["full"], **sizes)["full"].ranks
    batch, targets = data.test.interactions, data.test.targets.items
    with torch.no_grad():
        scores = model.full_sort_predict(batch)
        batch.update(Interaction({"item_id": targets}))
        torch.testing.assert_close(model.predict(batch), scores.gather(1, targets[:, None])[:, 0])
    scores, target = scores[:, 1:], scores.gather(1, targets[:, None])
    assert ((scores > target).sum(dim=1) + 1).tolist() == ranks.tolist()


@torch.no_grad()
@pytest.mark.parametrize("representation", ["unified", "id", "text_id"])
def test_ranking_adds_similarity_to_the_history_and_popularity(prepare, representation):
    _, data, model = prepare(history_similarity=3, popularity_bias=1.0, representation=representation)
    _, _, plain = prepare(representation=representation)
    model.eval(), plain.eval()
    plain.load_state_dict(without_bias(model))
    batch = interaction(data)
    difference = model.full_sort_predict(batch) - plain.full_sort_predict(batch).view(len(batch), -1)

    table, everything = model.item_embedding, torch.arange(1, model.n_items)
    with table.step(everything) as encoded:
        vectors = encoded.rows if encoded.semantic is None else encoded.semantic
    unit = functional.normalize(vectors - vectors.mean(dim=0), dim=-1)
    if encoded.semantic is not None:
        unit[~model.has_text[1:]] = 0  # one item of the dataset
    counts = torch.zeros(model.n_items)
    for user in range(1, len(data.train.sequences.offsets) - 1):
        counts[data.train.sequences.of(user)[:-2]] += 1
    for row, (items, length) in enumerate(zip(batch["item_id_list"], batch["item_length"].tolist())):
        most = (unit[items[:length] - 1] @ unit.T).amax(dim=0)
        expected = 3 * most + torch.log1p(counts[1:])
        torch.testing.assert_close(difference[row, 1:], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss_type", ["CE", "SSM"])
def test_learned_numbers_get_the_gradient_of_the_training_loss(prepare, loss_type):
    """The gradient matches finite differences, including the subtraction of a row's own counts."""
    keys = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dead_code_steps": 0}
    _, data, model = prepare(loss_type=loss_type, shared_negatives=30, **ALL_BIASES, **keys)
    model.double()
    batch = next(iter(data.train_data))
    levels = [model.score_bias.repeat_level, model.score_bias.transition_level]
    for level in levels:
        level.data.uniform_(-0.1, 0.1)
    found = torch.autograd.grad(model.row_losses(batch)[0], levels)
    for level, gradient in zip(levels, found):
        for place in range(level.numel()):
            losses = []
            for step in (1e-5, -2e-5):
                level.data.view(-1)[place] += step
                losses.append(model.row_losses(batch)[0].item())
            level.data.view(-1)[place] += 1e-5
            assert gradient.view(-1)[place].item() == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-3, abs=1e-7)


def test_a_learned_temperature_starts_at_the_given_one_and_gets_a_gradient(prepare):
    keys = {"similarity": "cosine", "temperature": 0.25, "MAX_ITEM_LIST_LENGTH": 6}
    _, data, fixed = prepare(**keys)
    _, _, learned = prepare(**keys, learn_temperature=True)
    state = learned.state_dict()
    assert state.keys() - fixed.state_dict().keys() == {"log_temperature"}
    learned.load_state_dict({**fixed.state_dict(), "log_temperature": state["log_temperature"]})
    scores = [model.eval().full_sort_predict(interaction(data)) for model in (fixed, learned)]
    torch.testing.assert_close(*scores)
    learned.log_temperature.data += torch.tensor(2.0).log()
    torch.testing.assert_close(learned.full_sort_predict(interaction(data)), scores[0] / 2)
    sum(learned.row_losses(next(iter(data.train_data)))).backward()
    assert learned.log_temperature.grad.abs() > 0


def test_an_older_checkpoint_keeps_its_successors_and_the_configured_weights(prepare):
    _, data, old = prepare(transition_bias=2, transition_followers=1000, history_similarity=1.5)
    _, _, new = prepare(transition_bias=2, transition_followers=1, history_similarity=1.5)
    assert len(new.score_bias.items) < len(old.score_bias.items)
    state = {name: part for name, part in old.state_dict().items() if name != "score_bias.ranking_weights"}
    new.load_state_dict(state)
    assert new.score_bias.feature_weights == {"history_similarity": 1.5}
    scores = [model.eval().full_sort_predict(interaction(data)) for model in (old, new)]
    assert torch.equal(*scores)
