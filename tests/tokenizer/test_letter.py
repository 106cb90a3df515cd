"""LETTER's regularizers against its equations, and their effect on codes."""

import math

import pytest
import torch

from recbole_unirep.tokenizer.letter import LETTER, collaborative_loss, diversity_loss, equal_clusters

TINY = {"codebook_size": 8, "code_dim": 4, "collaborative_dim": 4, "code_clusters": 2, "encoder_sizes": [8]}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_contrast_is_equation_4():
    vectors, collaborative = noise(3, 4), noise(3, 4, seed=1)
    scores = [[float(z @ h) for h in collaborative] for z in vectors]
    expected = -sum(math.log(math.exp(row[i]) / sum(map(math.exp, row))) for i, row in enumerate(scores)) / 3
    assert collaborative_loss(vectors, collaborative).item() == pytest.approx(expected, rel=1e-5)
    collaborative = torch.cat([collaborative, torch.zeros(1, 4)])  # an item without interactions
    assert collaborative_loss(noise(4, 4)[[0, 1, 2, 3]], collaborative).item() == pytest.approx(
        collaborative_loss(noise(4, 4)[:3], collaborative[:3]).item()
    )
    assert collaborative_loss(vectors, torch.zeros(3, 4)).item() == 0


def test_the_spread_is_equation_5():
    """In clusters of two the other code is certain; the code itself is not a candidate."""
    codebook, code, cluster = noise(4, 3), torch.tensor([0, 3]), torch.tensor([0, 1, 0, 1])
    scores = (codebook @ codebook.T).tolist()
    expected = 0.0
    for own, other in ((0, 2), (3, 1)):
        total = sum(math.exp(scores[own][k]) for k in range(4) if k != own)
        expected -= math.log(math.exp(scores[own][other]) / total) / 2
    found = diversity_loss(codebook, code, cluster, torch.Generator())
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_clusters_of_codes_are_equal_and_compact():
    codebook = torch.cat([noise(5, 3) / 100, noise(5, 3) / 100 + 9])
    cluster = equal_clusters(codebook, 2, torch.Generator().manual_seed(0))
    assert len(set(cluster[:5].tolist())) == len(set(cluster[5:].tolist())) == 1
    sizes = equal_clusters(noise(11, 3), 3, torch.Generator().manual_seed(0)).bincount()
    assert sorted(sizes.tolist()) == [3, 4, 4]


def test_codes_learn_collaborative_signals():
    """Text says little about which of two user groups an item belongs to; a strong contrast puts it into the codes."""
    text, group = noise(80, 6), torch.arange(80) % 2
    text[:, 0] = 0.5 * group
    collaborative = torch.nn.functional.one_hot(group, 4).float()
    x = torch.cat([text, collaborative], dim=-1)

    def purity(weight):
        keys = {"text_dim": 10, "n_levels": 1, "collaborative_weight": weight}
        keys |= {"fit_epochs": 60, "fit_batch_size": 40, "fit_learning_rate": 0.01}
        code = LETTER.from_defaults(**{**TINY, **keys}).fit(x).encode(x)[:, 0]
        counts = torch.zeros(8, 2).index_put_((code, group), torch.ones(80), accumulate=True)
        return counts.amax(dim=1).sum().item() / 80

    assert purity(1.0) > purity(0.0) + 0.2


def test_codes_depend_only_on_the_text():
    x = noise(40, 12)
    tokenizer = LETTER.from_defaults(text_dim=12, fit_epochs=2, **TINY).fit(x)
    unknown = torch.cat([x[:, :8], torch.zeros(40, 4)], dim=-1)
    assert torch.equal(tokenizer.encode(unknown), tokenizer.encode(x))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"code_dim": 5}, "collaborative_dim=4 and code_dim=5 differ, but LETTER multiplies both"),
        ({"text_dim": 4}, "have 4 dimensions, collaborative_dim=4 leaves none for the text"),
        ({"code_clusters": 5}, "code_clusters=5 of codebook_size=8 codes.*at most half"),
    ],
)
def test_options_that_do_not_fit_are_named(keys, message):
    with pytest.raises(ValueError, match=message):
        LETTER.from_defaults(**{"text_dim": 12, **TINY, **keys})
