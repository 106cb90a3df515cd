"""UniRep: gradients by loss and setting, RecBole's interface, parameter counts, errors."""

import pytest
import torch
from recbole.data.utils import get_dataloader

from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.model.build import build_model
from recbole_unirep.scoring.measures import measures
from recbole_unirep.settings.with_keys import with_keys


def interaction(data):
    return data.test.interactions


@pytest.fixture
def prepare(prepare, plain):
    """As the shared fixture, without the default's additions, which each test names."""
    return lambda **keys: prepare(**{**plain, **keys})


@pytest.mark.parametrize("backbone", ["SASRec", "GRU4Rec", "Caser", "BERT4Rec", "NARM", "HSTU"])
@pytest.mark.parametrize("fusion", ["concat", "mlp", "project"])
def test_predict_agrees_with_full_sort_predict(prepare, backbone, fusion):
    _, data, model = prepare(backbone=backbone, fusion=fusion, MAX_ITEM_LIST_LENGTH=6)
    model.eval()
    with torch.no_grad():
        scores = model.full_sort_predict(interaction(data))
        single = model.predict(interaction(data))
    assert scores.shape == (len(data.test), model.n_items)
    torch.testing.assert_close(single, scores.gather(1, data.test.targets.items[:, None])[:, 0])


@pytest.mark.parametrize("backbone", ["SASRec", "GRU4Rec", "Caser", "BERT4Rec", "NARM", "HSTU"])
@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_recboles_own_loader_trains_every_backbone(prepare, backbone, loss_type):
    config, data, model = prepare(
        backbone=backbone, loss_type=loss_type, training_rows="prefix", MAX_ITEM_LIST_LENGTH=6
    )
    losses = model.calculate_loss(next(iter(data.train_data)))
    sum(losses).backward()
    assert len(losses) == 3
    assert model.item_embedding.id_embedding.weight.grad.abs().sum() > 0
    assert model.item_embedding.tokenizer.encoder[0].weight.grad.abs().sum() > 0
    assert get_dataloader(config, "train") is type(data.train_data)


PARTS = {
    "encoder": lambda model: model.item_embedding.tokenizer.encoder[0].weight,
    "codebooks": lambda model: model.item_embedding.tokenizer.quantizer.codebooks,
    "decoder": lambda model: model.item_embedding.tokenizer.decoder[0].weight,
    "id": lambda model: model.item_embedding.id_embedding.weight,
}


@pytest.mark.parametrize(
    ("loss", "codebook_gradient", "reached"),
    [
        (0, False, {"encoder", "id"}),
        (0, True, {"encoder", "id", "codebooks"}),
        (1, False, {"encoder", "codebooks"}),
        (1, True, {"encoder", "codebooks"}),
        (2, False, {"encoder", "decoder"}),
        (2, True, {"encoder", "decoder", "codebooks"}),
    ],
)
@pytest.mark.parametrize("loss_type", ["CE", "BCE", "SSM"])
def test_each_loss_trains_its_parts(prepare, loss, codebook_gradient, reached, loss_type):
    _, data, model = prepare(codebook_gradient=codebook_gradient, loss_type=loss_type)
    model.row_losses(next(iter(data.train_data)))[loss].backward()
    gradients = {name: part(model).grad for name, part in PARTS.items()}
    assert {name for name, gradient in gradients.items() if gradient is not None and gradient.any()} == reached


def test_quantization_losses_of_a_batch_by_hand(prepare):
    _, data, model = prepare(quantization_weighting="occurrence", quantization_weight=1.0, users_per_batch=1000)
    model.eval()
    batch = next(iter(data.train_data))
    _, quantization, reconstruction = model.row_losses(batch)
    read = torch.cat([batch.inputs[batch.inputs > 0], batch.targets])
    tokenizer, has_text = model.item_embedding.tokenizer, model.has_text[read]
    text = model.item_embedding.item_text_embedding[read]
    vectors, _, losses = tokenizer.quantizer(tokenizer.latent(text))
    torch.testing.assert_close(quantization, losses[has_text].sum() / has_text.sum())
    losses = tokenizer.reconstruction_loss(text, vectors)
    torch.testing.assert_close(reconstruction, losses[has_text].sum() / has_text.sum())
    assert not has_text.all()


def test_the_sampled_softmax_encodes_only_the_items_of_its_step(prepare):
    _, data, model = prepare(loss_type="SSM", shared_negatives=5, users_per_batch=4)
    batch, encoded = next(iter(data.train_data)), []
    encode = model.item_embedding._encode
    model.item_embedding._encode = lambda items, *read: encoded.append(items) or encode(items, *read)
    model.row_losses(batch)
    used = torch.cat([batch.inputs.flatten(), batch.targets, batch.negatives])
    assert [items.tolist() for items in encoded] == [used[used > 0].unique().tolist()]
    assert len(encoded[0]) < model.n_items / 2


def test_the_sampled_softmax_rejects_recboles_loader(prepare):
    _, data, model = prepare(loss_type="SSM")
    with pytest.raises(ValueError, match="SSM needs training on user sequences.*training_rows=user"):
        model.calculate_loss(interaction(data))


def test_an_item_without_text_has_a_zero_text_vector_and_learns_an_id(prepare):
    _, data, model = prepare()
    without = torch.nonzero(~model.has_text[1:])[:, 0] + 1
    assert len(without) == 1
    table = model.item_embedding
    assert not table.tokenizer.scale_text(table.item_text_embedding[without]).any()
    sum(model.row_losses(next(iter(data.train_data)))).backward()
    assert table.id_embedding.weight.grad[without - 1].any()


def test_user_sequences_and_prefixes_have_the_same_loss_without_dropout(prepare):
    keys = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "users_per_batch": 1000, "train_batch_size": 10000}
    _, rows, model = prepare(**keys)
    _, prefixes, same = prepare(training_rows="prefix", **keys)
    by_row = model.row_losses(next(iter(rows.train_data)))[0]
    with torch.no_grad():
        same.load_state_dict(model.state_dict())
        by_prefix = same.calculate_loss(next(iter(prefixes.train_data)))[0]
        # RecBole's softmax also runs over the padding row, which scores 0.
        states = model.sequence_states(next(iter(rows.train_data)).inputs)[next(iter(rows.train_data)).is_target]
        logits = states @ model.item_embedding.weight[: model.n_items].T
    more = (logits.logsumexp(1) - logits[:, 1:].logsumexp(1)).mean()
    torch.testing.assert_close(by_row + more, by_prefix, rtol=1e-4, atol=1e-5)


def test_training_without_codes_is_that_of_text_id_and_ranking_reads_codes(prepare):
    _, data, model = prepare(train_on_codes=False, codebook_update="ema")
    _, _, control = prepare(representation="text_id")
    shared = {name: part for name, part in model.state_dict().items() if name in control.state_dict()}
    control.load_state_dict(shared)
    batch = next(iter(data.train_data))
    torch.manual_seed(1)
    losses = model.row_losses(batch)
    torch.manual_seed(1)
    expected = control.row_losses(batch)
    assert model.loss_names == control.loss_names == ["recommendation", "reconstruction"]
    assert [loss.item() for loss in losses] == [loss.item() for loss in expected]
    table = model.eval().item_embedding
    vectors = table.tokenizer.quantizer.decode(table.codes())
    torch.testing.assert_close(table.encoded_items.semantic, vectors)
    assert not torch.allclose(table.encoded_items.latent, vectors, atol=1e-3)


def test_codes_are_fitted_to_the_trained_items_with_text(prepare, monkeypatch):
    _, data, model = prepare(train_on_codes=False, codebook_update="ema")
    table, seen = model.item_embedding, []
    model.has_text[1::2] = False
    model.n_training_items -= 10
    monkeypatch.setattr(table.tokenizer.quantizer, "fit", lambda z, seed: seen.append((len(z), seed)))
    model.fit_codes()
    assert seen == [(int(model.has_text[1 : model.n_training_items].sum()), 2020)]
    _, _, trained = prepare(train_on_codes=True)
    before = trained.item_embedding.tokenizer.quantizer.codebooks.clone()
    trained.fit_codes()
    assert torch.equal(trained.item_embedding.tokenizer.quantizer.codebooks, before)


def test_dead_codes_move_after_the_given_steps(prepare):
    _, data, model = prepare(dead_code_steps=2, codebook_size=64)
    codebooks = model.item_embedding.tokenizer.quantizer.codebooks
    batch, before = next(iter(data.train_data)), codebooks.detach().clone()
    model.row_losses(batch)
    assert torch.equal(codebooks, before)
    model.row_losses(batch)
    assert not torch.equal(codebooks, before)
    assert not model.code_is_used.any()


def test_ema_codebooks_move_only_in_training(prepare):
    _, data, model = prepare(codebook_update="ema", dead_code_steps=0)
    quantizer = model.item_embedding.tokenizer.quantizer
    batch, before = next(iter(data.train_data)), quantizer.codebooks.clone()
    model.eval().row_losses(batch)
    assert torch.equal(quantizer.codebooks, before)
    loss = sum(model.train().row_losses(batch))
    assert not torch.equal(quantizer.codebooks, before)
    loss.backward()  # works although the codebooks have changed since the forward pass
    assert not quantizer.codebooks.requires_grad


def test_items_without_text_move_no_codebook(prepare, monkeypatch):
    _, data, model = prepare(codebook_update="ema", dead_code_steps=0)
    quantizer = model.item_embedding.tokenizer.quantizer
    model.has_text[1::2] = False
    seen = []
    monkeypatch.setattr(quantizer, "ema_update", lambda z, codes: seen.append((len(z), len(codes))))
    model.row_losses(next(iter(data.train_data)))
    assert seen == [(int(model.has_text[1:].sum()),) * 2]


def test_ema_codebooks_count_as_parameters(prepare):
    _, _, averaged = prepare(codebook_update="ema")
    _, _, trained = prepare()
    assert averaged.item_table_parameters == trained.item_table_parameters
    sizes = [measures(model)["trainable_parameters"] for model in (averaged, trained)]
    assert sizes[0] == sizes[1] > averaged.n_ema_parameters > trained.n_ema_parameters == 0


def test_the_codebook_report_covers_all_items(prepare):
    _, _, model = prepare()
    report = model.codebook_report()
    codes = model.item_embedding.codes()
    assert report["unique_item_coverage"] == pytest.approx(len(codes.unique(dim=0)) / (model.n_items - 1))
    assert set(report) >= {"codebook_usage_1", "perplexity_3", "collision_rate"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"backbone": "SRGNN"}, "backbone=SRGNN.*SASRec, GRU4Rec"),
        ({"backbone": "Caser", "loss_type": "BCE"}, "loss_type=BCE.*Caser.*CE or BPR"),
        ({"similarity": "angle"}, "similarity=angle is not known: choose one of dot, cosine"),
        ({"backbone": "NARM", "similarity": "cosine"}, "similarity=cosine.*SASRec or GRU4Rec.*NARM"),
        ({"temperature": 0}, "temperature=0 is not a number above 0"),
        ({"backbone": "Caser", "local_convolution": 3}, "local_convolution=3.*SASRec or GRU4Rec.*Caser"),
        ({"local_convolution": -1}, "local_convolution=-1 is not a number of items: give 3, or 0"),
        ({"backbone": "NARM", "repeat_bias": True}, "repeat_bias=True.*SASRec or GRU4Rec.*NARM"),
        ({"loss_type": "BCE", "repeat_bias": True}, "repeat_bias=True.*softmax.*BCE.*use CE or SSM"),
        ({"loss_type": "BPR", "transition_bias": 3}, "transition_bias=3.*softmax.*BPR.*use CE or SSM"),
        ({"backbone": "Caser", "transition_bias": 3}, "transition_bias=3.*SASRec or GRU4Rec.*Caser"),
        ({"transition_bias": -1}, "transition_bias=-1.*give 3, or 0"),
        ({"transition_bias": 2, "training_rows": "prefix"}, "transition_bias=2.*use run_recbole.*training_rows=user"),
        (
            {"train_on_codes": False, "codebook_update": "ema", "gradient_estimator": "rotation"},
            "gradient_estimator=rotation needs training on codes, train_on_codes=False fits them after each epoch: use "
            "train_on_codes=True, or leave gradient_estimator out",
        ),
        ({"learn_temperature": True}, "learn_temperature=True needs similarity=cosine, found dot: leave it out"),
        ({"label_smoothing": 0.1, "loss_type": "BCE"}, "label_smoothing=0.1 needs a softmax loss, found loss_type=BCE"),
        (
            {"label_smoothing": 0.1, "training_rows": "prefix"},
            "label_smoothing=0.1 is for this package's rows",
        ),
        ({"crop": 0.1, "training_rows": "prefix"}, "crop=0.1 is for training_rows user and target: leave the key out"),
        (
            {"reorder": 0.1, "training_rows": "prefix"},
            "reorder=0.1 is for training_rows user and target: leave the key",
        ),
        ({"reorder": 0.1, "transition_bias": 3}, "transition_bias=3 counts the order of items, which reorder changes"),
        ({"history_similarity": float("inf")}, "history_similarity=inf is not a finite number: give a number"),
        ({"backbone": "BERT4Rec", "popularity_bias": 0.5}, "popularity_bias=0.5.*SASRec or GRU4Rec.*BERT4Rec"),
        ({"backbone": "NARM", "output_projection": True}, "output_projection=True.*SASRec or GRU4Rec.*NARM"),
        (
            {"backbone": "Caser", "loss_type": "SSM", "training_rows": "prefix"},
            "loss_type=SSM.*Caser|SSM.*use SASRec",
        ),
        ({"loss_type": "SSM", "training_rows": "prefix"}, "SSM needs training on user sequences.*training_rows=user"),
        ({"loss_type": "SSM", "negative_distribution": "zipf"}, "negative_distribution=zipf.*uniform, popularity"),
        ({"loss_type": "TOP1"}, "loss_type=TOP1.*CE, BCE, BPR"),
        ({"representation": "ids"}, "representation=ids.*unified, semantic, id"),
        ({"hidden_size": 128}, "hidden_size=128.*concat makes it 16"),
        ({"n_heads": 5}, "n_heads 5 does not divide.*16"),
        ({"level_metrics": ["cosine"] * 4}, "level_metrics names 4 levels, n_levels is 3"),
        ({"quantization_items": "catalogue", "quantization_weighting": "occurrence"}, "occurrence.*batch"),
        ({"quantization_items": "all"}, "quantization_items=all.*batch, catalogue"),
    ],
)
def test_an_option_out_of_range_is_an_error(prepare, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(**keys)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("amazon-beauty", {"id": 774_464, "semantic": 49_152, "unified": 145_960}),
        ("amazon-sports-outdoors", {"id": 1_174_848, "semantic": 24_576, "unified": 171_432}),
        ("amazon-toys-games", {"id": 763_136, "semantic": 49_152, "unified": 144_544}),
    ],
)
def test_item_table_parameters_equal_table_5_of_the_paper(shared_datasets, dataset, expected):
    keys = {"data_path": str(shared_datasets), "text_encoder": "minilm", "codebook_init": "normal", "preset": "paper"}
    config = Config("UniRep", dataset, config_dict=keys)
    data = create_dataset(config)
    for representation, parameters in expected.items():
        model = build_model(with_keys(config, representation=representation), data)
        assert model.item_table_parameters == parameters
