"""Tokenizers that are fitted once, checked by values computed by hand."""

import numpy as np
import pytest
import torch

from recbole_unirep.tokenizer import distance
from recbole_unirep.tokenizer.balancedrqkmeans import BalancedRQKMeans, balanced_assignment
from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.fused import Fused
from recbole_unirep.tokenizer.hierarchicalkmeans import HierarchicalKMeans
from recbole_unirep.tokenizer.mbgen import MBGen
from recbole_unirep.tokenizer.opq import OPQ
from recbole_unirep.tokenizer.pq import PQ
from recbole_unirep.tokenizer.residual import residual_codes
from recbole_unirep.tokenizer.residual_fit import refined
from recbole_unirep.tokenizer.rqkmeans import RQKMeans
from recbole_unirep.tokenizer.rvq import RVQ
from recbole_unirep.tokenizer.vq import VQ


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def two_levels():
    """Sixteen points: four far apart, each with four neighbours around it."""
    far = torch.tensor([[-10.0, -10.0], [-10.0, 10.0], [10.0, -10.0], [10.0, 10.0]])
    near = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    return (far[:, None] + near).reshape(16, 2)


def squared_distance(tokenizer, x):
    return (tokenizer.decode(tokenizer.encode(x)) - x).square().sum(dim=-1).mean().item()


def test_kmeans_finds_separated_clusters(two_levels):
    centres = kmeans(two_levels, 4, iterations=20, seed=1)
    assert sorted(map(tuple, centres.round().tolist())) == [(-10, -10), (-10, 10), (10, -10), (10, 10)]


def test_codes_beyond_the_distinct_points_stay_unused():
    x = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    centres = kmeans(x, 4, iterations=5, seed=0)
    assert sorted(centres[:2, 0].tolist()) == [0, 1]
    assert torch.equal(centres[2:], centres[:1].expand(2, -1))
    assert VQ.from_defaults(codebook_size=4).fit(x).encode(x).max() == 1


def test_the_second_level_quantizes_the_residuals_of_the_first(two_levels):
    tokenizer = RQKMeans.from_defaults(n_levels=2, codebook_size=4).fit(two_levels)
    codes = tokenizer.encode(two_levels)
    assert len(torch.unique(codes, dim=0)) == 16
    assert all(len(torch.unique(codes[i : i + 4, 0])) == 1 for i in range(0, 16, 4))
    assert squared_distance(tokenizer, two_levels) == pytest.approx(0, abs=1e-8)


def test_fit_reads_a_sample_of_fit_items(two_levels):
    x = torch.cat([two_levels, two_levels + noise(16, 2)])
    whole = RQKMeans.from_defaults(n_levels=1, codebook_size=2, fit_items=0).fit(x)
    part = RQKMeans.from_defaults(n_levels=1, codebook_size=2, fit_items=8).fit(x)
    generator = torch.Generator().manual_seed(part.fit_seed)
    drawn = x[torch.randperm(32, generator=generator)[:8].sort().values]
    alike = RQKMeans.from_defaults(n_levels=1, codebook_size=2, fit_items=0).fit(drawn)
    assert torch.equal(part.codebooks, alike.codebooks)
    assert not torch.equal(part.codebooks, whole.codebooks)


def test_vectors_may_be_memory_mapped_in_half_precision(tmp_path, two_levels):
    np.save(tmp_path / "x.npy", two_levels.numpy().astype(np.float16))
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    tokenizer = RQKMeans.from_defaults(n_levels=2, codebook_size=4).fit(mapped)
    assert torch.equal(
        tokenizer.encode(mapped), RQKMeans.from_defaults(n_levels=2, codebook_size=4).fit(two_levels).encode(two_levels)
    )


def test_clusters_take_their_nearest_items_in_turn_and_sizes_differ_by_at_most_one():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    cluster, means = balanced_assignment(x, torch.tensor([[0.0], [0.0]]))
    assert cluster.tolist() == [0, 0, 0, 1, 1]
    assert means.tolist() == [[1.0], [3.5]]


@pytest.mark.parametrize(("n_items", "codebook_size"), [(50, 8), (16, 4), (3, 8)])
def test_every_level_of_a_balanced_catalogue_is_balanced(n_items, codebook_size):
    x = noise(n_items, 6)
    tokenizer = BalancedRQKMeans.from_defaults(codebook_size=codebook_size).fit(x)
    codes = tokenizer.encode_catalogue(x)
    for level in codes.unbind(dim=-1):
        counts = torch.bincount(level, minlength=codebook_size)
        assert counts.max() - counts.min() <= 1
    assert torch.equal(tokenizer.encode_catalogue(x), codes)


def test_balancing_costs_little_if_the_clusters_are_balanced(two_levels):
    tokenizer = BalancedRQKMeans.from_defaults(n_levels=2, codebook_size=4, fit_seed=3).fit(two_levels)
    codes = tokenizer.encode_catalogue(two_levels)
    assert (tokenizer.decode(codes) - two_levels).square().sum(dim=-1).mean() < 110  # of 201; the algorithm is greedy


def test_training_by_steps_is_as_accurate_as_kmeans():
    x = noise(400, 8)
    near = squared_distance(RQKMeans.from_defaults(n_levels=2, codebook_size=16).fit(x), x)
    for update in ("ema", "gradient"):
        tokenizer = RVQ.from_defaults(n_levels=2, codebook_size=16, codebook_update=update, fit_batch_size=100)
        assert squared_distance(tokenizer.fit(x), x) < 1.05 * near


def test_rvq_improves_a_sampled_start():
    x = noise(400, 8)
    start = RVQ.from_defaults(n_levels=1, codebook_size=16, codebook_init="sample", fit_epochs=0).fit(x)
    learned = RVQ.from_defaults(n_levels=1, codebook_size=16, codebook_init="sample", codebook_decay=0.5).fit(x)
    assert squared_distance(learned, x) < 0.9 * squared_distance(start, x)


def test_each_part_of_a_product_has_its_own_codes():
    values = torch.tensor([-3.0, 0.0, 3.0])
    x = torch.cartesian_prod(values, values)
    tokenizer = PQ.from_defaults(n_levels=2, codebook_size=3).fit(x)
    codes = tokenizer.encode(x)
    assert len(torch.unique(codes, dim=0)) == 9
    for part in range(2):
        assert all(len(torch.unique(codes[x[:, part] == value, part])) == 1 for value in values)
    assert squared_distance(tokenizer, x) == pytest.approx(0, abs=1e-8)


def test_parts_of_unequal_width_are_refused_with_widths_that_fit():
    with pytest.raises(ValueError, match="n_levels=5 does not divide the 12 dimensions .* such as 3, 4, 6"):
        PQ.from_defaults(n_levels=5).fit(noise(10, 12))


def test_a_rotation_helps_if_the_parts_are_unequal():
    x = torch.cat([noise(500, 2) * 5, noise(500, 2, seed=1) * 0.1], dim=1)
    settings = {"n_levels": 2, "codebook_size": 16}
    plain, rotated = PQ.from_defaults(**settings).fit(x), OPQ.from_defaults(**settings).fit(x)
    assert torch.allclose(rotated.rotation @ rotated.rotation.T, torch.eye(4), atol=1e-4)
    assert squared_distance(rotated, x) < 0.5 * squared_distance(plain, x)


def test_a_tree_of_clusters_stops_at_a_single_item(two_levels):
    x = torch.cat([two_levels, torch.tensor([[100.0, 100.0]])])
    tokenizer = HierarchicalKMeans.from_defaults(n_levels=3, codebook_size=5).fit(x)
    codes = tokenizer.encode(x)
    assert len(torch.unique(codes, dim=0)) == 17
    assert codes[16, 1:].tolist() == [-1, -1]
    assert torch.equal(codes[:, 2], torch.full((17,), -1))
    assert squared_distance(tokenizer, x) == pytest.approx(0, abs=1e-6)


def test_a_small_cluster_is_a_leaf(two_levels):
    codes = (
        HierarchicalKMeans.from_defaults(n_levels=3, codebook_size=4, leaf_items=4).fit(two_levels).encode(two_levels)
    )
    assert torch.equal(codes[:, 1:], torch.full((16, 2), -1))


def test_the_random_level_depends_only_on_vector_and_seed():
    x = noise(200, 6)
    settings = {"text_dim": 6, "codebook_size": 8, "code_dim": 4, "encoder_sizes": [8], "fit_epochs": 1}
    first = MBGen.from_defaults(**settings).fit(x)
    other = MBGen.from_defaults(**{**settings, "fit_seed": 7}).fit(x)
    codes = first.encode(x)[:, 2]
    assert torch.equal(first.encode(x.flip(0))[:, 2].flip(0), codes)
    assert len(torch.unique(codes)) == 8
    assert not torch.equal(other.encode(x)[:, 2], codes)
    other_random = torch.cat([first.encode(x)[:, :2], 0 * codes[:, None]], dim=1)
    assert torch.equal(first.decode(other_random), first.decode(first.encode(x)))


def test_collaborative_share_weighs_interactions_against_text():
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    users = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    x = torch.cat([text, users], dim=1)
    by_text = Fused.from_defaults(n_levels=1, codebook_size=2, collaborative_dim=2, collaborative_share=0.1).fit(x)
    by_users = Fused.from_defaults(n_levels=1, codebook_size=2, collaborative_dim=2, collaborative_share=0.9).fit(x)
    a, b, c, d = by_text.encode(x)[:, 0].tolist()
    assert a == b != c == d
    a, b, c, d = by_users.encode(x)[:, 0].tolist()
    assert a == c != b == d


def test_an_item_without_interactions_is_encoded_by_its_text():
    text, users = noise(60, 6), noise(60, 3, seed=1)
    tokenizer = Fused.from_defaults(n_levels=2, codebook_size=8, collaborative_dim=3, collaborative_share=0.2)
    tokenizer.fit(torch.cat([text, users], dim=1))
    new = tokenizer.encode(torch.cat([text, torch.zeros(60, 3)], dim=1))
    known = tokenizer.encode(torch.cat([text, users], dim=1))
    assert (new[:, 0] == known[:, 0]).float().mean() > 0.5


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="is not a fraction: give 0 to 1"):
        Fused.from_defaults(collaborative_share=share)


def test_vectors_without_text_part_are_refused():
    with pytest.raises(ValueError, match="vectors have 3 dimensions, collaborative_dim=3 leaves none for the text"):
        Fused.from_defaults(collaborative_dim=3).fit(noise(10, 3))


def test_refinement_lowers_the_error_and_never_raises_it():
    x = noise(300, 6)
    plain = RQKMeans.from_defaults(n_levels=3, codebook_size=8, refinement_rounds=0).fit(x)
    rounds = [RQKMeans.from_defaults(n_levels=3, codebook_size=8, refinement_rounds=n).fit(x) for n in (1, 3, 12)]
    left = [tokenizer.distortion(x, tokenizer.encode(x))[-1] for tokenizer in (plain, *rounds)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.98 * left[0]


@pytest.mark.parametrize("numbers", [1, 60, 10**9])
def test_blocks_of_any_size_give_the_codes_of_single_vectors(monkeypatch, numbers):
    monkeypatch.setattr(distance, "CACHED_NUMBERS", numbers)
    x, codebooks, metrics = noise(50, 6), noise(3, 8, 6, seed=1), ["cosine", "euclidean", "euclidean"]
    expected = []
    for vector in x:
        rest, code = vector, []
        for codebook, metric in zip(codebooks, metrics):
            of_cosine = codebook @ rest / codebook.norm(dim=1)
            score = of_cosine if metric == "cosine" else -(codebook - rest).square().sum(dim=1)
            code.append(score.argmax().item())
            rest = rest - codebook[code[-1]]
        expected.append(code)
    assert residual_codes(x, codebooks, metrics).tolist() == expected
    assert residual_codes(x[:0], codebooks, metrics).shape == (0, 3)


@pytest.mark.parametrize("numbers", [1, 60, 10**9])
def test_blocks_of_any_size_give_the_nearest_code_of_each_part(monkeypatch, numbers):
    monkeypatch.setattr(distance, "CACHED_NUMBERS", numbers)
    x = noise(50, 6)
    pq = PQ.from_defaults(n_levels=3, codebook_size=8).fit(x)
    parts = x.reshape(50, 3, 1, 2) - pq.codebooks  # from each part to each of its codes
    assert pq.encode(x).equal(parts.square().sum(dim=-1).argmin(dim=-1))


def test_a_refined_codebook_is_the_mean_of_the_residuals_of_the_others():
    """One round by hand with given codes; each level uses the new vectors of the levels before it."""
    x = noise(40, 3)
    codebooks = torch.stack([noise(4, 3, seed=1), 0.3 * noise(4, 3, seed=2)])
    codes = residual_codes(x, codebooks, ["euclidean"] * 2)
    expected = codebooks.clone()
    for level, other in ((0, 1), (1, 0)):
        for code in range(4):
            members = codes[:, level] == code
            if members.any():
                expected[level, code] = (x[members] - expected[other][codes[members, other]]).mean(dim=0)
    torch.testing.assert_close(refined(x, codebooks, ["euclidean"] * 2, 1), expected)
