"""The residual quantizer against Algorithm 1 in NumPy, its options, first codebooks and dead codes."""

import numpy as np
import pytest
import torch

from recbole_unirep.tokenizer import quantizer as quantizer_module
from recbole_unirep.tokenizer.quantizer import CODEBOOK_INITS, ResidualQuantizer

OPTIONS = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 4,
    "level_metrics": ["cosine", "cosine", "euclidean"],
    "commitment_weight": 0.25,
    "residual_gradient": "detached",
    "codebook_gradient": False,
    "gradient_estimator": "straight_through",
    "codebook_update": "gradient",
    "codebook_decay": 0.9,
    "loss_reduction": "sum",
}
BY_METRIC = pytest.mark.parametrize("metrics", [["euclidean"] * 3, ["cosine", "cosine", "euclidean"]])
MIXES = [["cosine"] * 3, ["euclidean"] * 3, ["cosine", "cosine", "euclidean"], ["euclidean", "cosine", "cosine"]]


def make_quantizer(**overrides):
    torch.manual_seed(0)
    return ResidualQuantizer.from_keys({**OPTIONS, **overrides})


def algorithm_1(z, codebooks, metrics, beta, reduce):
    """Algorithm 1, lines 3 to 10, one vector at a time."""
    all_codes, all_z_hat, all_losses = [], [], []
    for vector in z:
        residual, z_hat, loss, codes = vector, np.zeros_like(vector), 0.0, []
        for codebook, metric in zip(codebooks, metrics):
            if metric == "cosine":
                lengths = np.linalg.norm(codebook, axis=1) * np.linalg.norm(residual)
                code = int(np.argmax(codebook @ residual / lengths))
            else:
                code = int(np.argmin(np.linalg.norm(codebook - residual, axis=1)))
            error = reduce(np.square(residual - codebook[code]))
            residual, z_hat, loss = residual - codebook[code], z_hat + codebook[code], loss + error + beta * error
            codes.append(code)
        all_codes.append(codes)
        all_z_hat.append(z_hat)
        all_losses.append(loss)
    return np.array(all_codes), np.array(all_z_hat), np.array(all_losses)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("metrics", MIXES)
def test_algorithm_1_in_numpy_gives_the_same(metrics, reduction):
    quantizer = make_quantizer(level_metrics=metrics, loss_reduction=reduction).double()
    z = torch.randn(20, 4, dtype=torch.double)
    quantized = quantizer(z)
    codes, z_hat, losses = algorithm_1(
        z.numpy(), quantizer.codebooks.detach().numpy(), metrics, 0.25, {"sum": np.sum, "mean": np.mean}[reduction]
    )
    assert quantized.codes.tolist() == codes.tolist()
    np.testing.assert_allclose(quantized.vectors.detach().numpy(), z_hat, rtol=1e-10)
    np.testing.assert_allclose(quantized.losses.detach().numpy(), losses, rtol=1e-10)
    np.testing.assert_allclose(quantizer.decode(quantized.codes).detach().numpy(), z_hat, rtol=1e-10)
    assert quantizer.encode(z).tolist() == codes.tolist()


def test_the_last_metric_holds_for_the_levels_after_it():
    assert make_quantizer(level_metrics=["cosine"]).level_metrics == ["cosine"] * 3
    short, full = (
        make_quantizer(n_levels=4, level_metrics=["cosine", "euclidean", *more]) for more in ([], ["euclidean"] * 2)
    )
    z = torch.randn(10, 4)
    assert torch.equal(short(z).codes, full(z).codes)


@pytest.mark.parametrize("residual_gradient", ["detached", "as_printed"])
@pytest.mark.parametrize("codebook_gradient", [False, True])
def test_gradient_settings_do_not_change_values(residual_gradient, codebook_gradient):
    z = torch.randn(10, 4)
    first = make_quantizer()(z)
    other = make_quantizer(residual_gradient=residual_gradient, codebook_gradient=codebook_gradient)(z)
    assert torch.equal(first.vectors, other.vectors)
    assert torch.equal(first.codes, other.codes)
    assert torch.equal(first.losses, other.losses)


def test_the_vector_is_exactly_the_sum_of_its_codes():
    quantizer, z = make_quantizer(), 1000 * torch.randn(10, 4)
    assert torch.equal(quantizer(z).vectors, quantizer.decode(quantizer.encode(z)))


def test_codebooks_of_the_paper_hold_49152_numbers():
    # Table 5, Beauty: 3 levels x 256 codes x 64 dimensions.
    assert sum(p.numel() for p in make_quantizer(codebook_size=256, code_dim=64).parameters()) == 49_152


ONE_EACH = "give one metric per level, where the last one holds for the levels after it"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"level_metrics": ["cosine"] * 4}, "level_metrics names 4 levels, n_levels is 3: " + ONE_EACH),
        ({"level_metrics": []}, "level_metrics names 0 levels, n_levels is 3: " + ONE_EACH),
        ({"level_metrics": ["cosine", "l2", "cosine"]}, "level_metrics is 'l2': choose one of cosine, euclidean"),
        ({"residual_gradient": "none"}, "residual_gradient is 'none': choose one of detached, as_printed"),
        ({"loss_reduction": "max"}, "loss_reduction is 'max': choose one of sum, mean"),
        ({"codebook_update": "sgd"}, "codebook_update is 'sgd': choose one of gradient, ema"),
        (
            {"codebook_update": "ema", "codebook_decay": 1.0},
            "codebook_decay=1.0 is not a decay rate: give 0 or more, below 1",
        ),
        *(
            (
                {"codebook_update": "ema", **gradient},
                "codebook_update=ema takes no gradients to the codebooks: use codebook_gradient=False and "
                "residual_gradient=detached, or codebook_update=gradient",
            )
            for gradient in ({"codebook_gradient": True}, {"residual_gradient": "as_printed"})
        ),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(overrides, message):
    with pytest.raises(ValueError) as error:
        make_quantizer(**overrides)
    assert str(error.value) == message


def test_a_bad_codebook_init_is_named():
    with pytest.raises(ValueError, match="codebook_init is 'zeros': choose one of kmeans, sample, normal"):
        make_quantizer().initialise(torch.randn(9, 4), "zeros", seed=0)


@pytest.mark.parametrize("n_items", [1, 5, 50])
@pytest.mark.parametrize("codebook_init", CODEBOOK_INITS)
def test_first_codebooks_depend_only_on_the_seed_even_with_few_items(codebook_init, n_items):
    z = torch.randn(n_items, 4)
    quantizer, again, other = make_quantizer(), make_quantizer(), make_quantizer()
    state = torch.get_rng_state()
    quantizer.initialise(z, codebook_init, seed=1)
    again.initialise(z, codebook_init, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    other.initialise(z, codebook_init, seed=2)
    assert quantizer.codebooks.isfinite().all()
    assert torch.equal(quantizer.codebooks, again.codebooks)
    if n_items > 1:
        assert not torch.equal(quantizer.codebooks, other.codebooks)


def test_kmeans_finds_clusters_of_the_vectors_then_of_their_residuals():
    centres = torch.tensor([[10.0, 0.0], [-10.0, 0.0]])
    offsets = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    z = (centres[:, None] + offsets[None]).reshape(4, 2).repeat(5, 1)
    quantizer = make_quantizer(n_levels=2, codebook_size=2, code_dim=2, level_metrics=["cosine", "euclidean"])
    quantizer.initialise(z, "kmeans", seed=0)
    first, second = quantizer.codebooks.detach()
    torch.testing.assert_close(first[first[:, 0].argsort()], centres.flip(0))
    torch.testing.assert_close(second[second[:, 1].argsort()], offsets.flip(0))
    torch.testing.assert_close(quantizer(z).vectors.detach(), z)


def test_sample_takes_distinct_items_and_adds_codes_near_them():
    z = torch.arange(20.0).reshape(5, 4)
    quantizer = make_quantizer(codebook_size=5)
    quantizer.initialise(z, "sample", seed=0)
    first = quantizer.codebooks[0].detach()
    assert torch.equal(first[first[:, 0].argsort()], z)
    quantizer = make_quantizer(codebook_size=8)
    quantizer.initialise(z, "sample", seed=0)
    first = quantizer.codebooks[0].detach()
    distance_to_items = torch.cdist(first, z).min(dim=1).values
    assert distance_to_items[:5].max() == 0
    assert distance_to_items[5:].min() > 0 and distance_to_items[5:].max() < 1


def test_normal_has_the_spread_of_the_residuals():
    quantizer = make_quantizer(codebook_size=1000, level_metrics=["euclidean"] * 3)
    quantizer.initialise(7 * torch.randn(500, 4), "normal", seed=0)
    assert 6 < quantizer.codebooks[0].std().item() < 8


def test_dead_codes_move_to_residuals_of_their_level_and_used_ones_stay():
    quantizer = make_quantizer(n_levels=2, codebook_size=3, code_dim=2, level_metrics=["euclidean"] * 2)
    with torch.no_grad():
        quantizer.codebooks[0] = torch.tensor([[1.0, 1.0], [99.0, 99.0], [5.0, 5.0]])
        quantizer.codebooks[1] = torch.tensor([[77.0, 77.0], [0.0, 1.0], [88.0, 88.0]])
    z = torch.tensor([[1.0, 2.0], [5.0, 6.0]])
    used = torch.tensor([[True, True, True], [False, True, False]])
    quantizer.move_dead_codes(z, used, torch.Generator().manual_seed(0))
    assert quantizer.codebooks[0].tolist() == [[1.0, 1.0], [99.0, 99.0], [5.0, 5.0]]
    # Both items leave (0, 1) behind at the first level.
    assert quantizer.codebooks[1].tolist() == [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]


def test_several_dead_codes_move_to_different_items():
    quantizer = make_quantizer(n_levels=1, codebook_size=3, code_dim=2, level_metrics=["euclidean"])
    z = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    quantizer.move_dead_codes(z, torch.zeros(1, 3, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert sorted(quantizer.codebooks[0].tolist()) == z.tolist()
    assert quantizer.codebooks.requires_grad and quantizer.codebooks.grad is None


def make_ema_quantizer(codebooks, decay):
    n_levels, codebook_size, code_dim = len(codebooks), len(codebooks[0]), len(codebooks[0][0])
    quantizer = make_quantizer(
        n_levels=n_levels,
        codebook_size=codebook_size,
        code_dim=code_dim,
        level_metrics=["euclidean"] * n_levels,
        codebook_update="ema",
        codebook_decay=decay,
    )
    quantizer.codebooks.copy_(torch.tensor(codebooks))
    quantizer.code_counts.fill_(1)
    quantizer.code_sums.copy_(quantizer.codebooks)
    return quantizer


def test_an_ema_update_by_hand():
    quantizer = make_ema_quantizer([[[0.0, 0.0], [10.0, 0.0]]], decay=0.5)
    z, codes = torch.tensor([[2.0, 0.0], [4.0, 0.0], [10.0, 2.0]]), torch.tensor([[0], [0], [1]])
    quantizer.ema_update(z, codes)
    # Code 0: counts (1 + 2) / 2, sums (0 + 6) / 2. Code 1: counts (1 + 1) / 2, sums ((10, 0) + (10, 2)) / 2.
    assert quantizer.code_counts.tolist() == [[1.5, 1.0]]
    assert quantizer.codebooks.tolist() == [[[2.0, 0.0], [10.0, 1.0]]]


def test_with_decay_0_codes_are_the_means_of_their_residuals():
    quantizer = make_ema_quantizer([[[0.0], [8.0]], [[-1.0], [1.0]]], decay=0.0)
    z = torch.tensor([[1.0], [3.0], [7.0], [9.0]])
    codes = quantizer.encode(z)
    assert codes.tolist() == [[0, 1], [0, 1], [1, 0], [1, 1]]
    quantizer.ema_update(z, codes)
    assert quantizer.codebooks[0].tolist() == [[2.0], [8.0]]
    left = torch.tensor([[-1.0], [(1 + 3 + 1) / 3]])  # residuals of the codes that were chosen
    torch.testing.assert_close(quantizer.codebooks[1], left)


def test_an_unused_code_stays_and_a_moved_one_starts_a_new_average():
    quantizer = make_ema_quantizer([[[0.0, 1.0], [9.0, 9.0]]], decay=0.5)
    z = torch.tensor([[0.0, 3.0]])
    for _ in range(2000):
        quantizer.ema_update(z, torch.tensor([[0]]))
    assert quantizer.codebooks[0].tolist() == [[0.0, 3.0], [9.0, 9.0]]
    quantizer.move_dead_codes(z, torch.tensor([[True, False]]), torch.Generator().manual_seed(0))
    quantizer.ema_update(torch.tensor([[2.0, 1.0]]), torch.tensor([[1]]))
    assert quantizer.codebooks[0, 1].tolist() == [1.0, 2.0]  # between its new place (0, 3) and (2, 1)


def test_ema_codebooks_have_no_loss_and_no_gradient():
    z = torch.randn(5, 4, requires_grad=True)
    trained, averaged = make_quantizer(), make_quantizer(codebook_update="ema")
    averaged.codebooks.copy_(trained.codebooks.detach())
    codes = averaged.encode(z)
    torch.testing.assert_close(averaged.losses(z, codes), trained.losses(z, codes) * 0.25 / 1.25)
    assert [name for name, _ in averaged.named_parameters()] == []
    assert {"codebooks", "code_counts", "code_sums"} <= averaged.state_dict().keys()


def test_first_averages_match_the_first_codes():
    z = torch.randn(60, 4, generator=torch.Generator().manual_seed(5))
    quantizer = make_quantizer(codebook_update="ema", codebook_decay=0.999)
    quantizer.initialise(z, "kmeans", seed=0)
    before = quantizer.codebooks.clone()
    quantizer.ema_update(z, quantizer.encode(z))
    assert 0 < (quantizer.codebooks - before).abs().max() < 0.01


@BY_METRIC
@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_fitted_codebooks_are_closer_than_the_first_ones_and_repeatable(metrics, update):
    z = torch.randn(200, 4, generator=torch.Generator().manual_seed(1)) + 3
    first = make_quantizer(level_metrics=metrics, codebook_update=update)
    first.initialise(z, "normal", seed=0)
    fitted, again = (make_quantizer(level_metrics=metrics, codebook_update=update) for _ in range(2))
    state = torch.get_rng_state()
    fitted.fit(z, seed=0)
    again.initialise(-z, "normal", seed=5)
    again.fit(z, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(fitted.codebooks, again.codebooks)
    errors = [(z - each.decode(each.encode(z))).square().sum().item() for each in (fitted, first)]
    assert errors[0] < errors[1]
    if update == "ema":  # the averages are those of the fitted codes
        torch.testing.assert_close(fitted.code_sums, fitted.codebooks * fitted.code_counts[..., None])
        counted = torch.stack([code.bincount(minlength=8) for code in fitted.encode(z).T])
        assert torch.equal(fitted.code_counts, counted.clamp(min=1).float())


def test_fitting_reads_a_bounded_number_of_vectors(monkeypatch):
    monkeypatch.setattr(quantizer_module, "FIT_ITEMS", 50)
    z, seen = torch.randn(200, 4), []
    level_by_level = quantizer_module.level_by_level
    monkeypatch.setattr(
        quantizer_module, "level_by_level", lambda x, *others: seen.append(x) or level_by_level(x, *others)
    )
    make_quantizer().fit(z, seed=0)
    (read,) = seen
    assert len(read) == 50 == len(torch.unique(read, dim=0))
    assert set(map(tuple, read.tolist())) <= set(map(tuple, z.tolist()))
