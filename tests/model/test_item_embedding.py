"""UnifiedItemEmbedding: a drop-in for nn.Embedding whose rows are [semantic ; ID]."""

import pytest
import torch

from recbole_unirep.modules.fusion import FUSIONS
from recbole_unirep.modules.item_embedding import UnifiedItemEmbedding
from recbole_unirep.modules.representation import REPRESENTATIONS, IdPart, ItemRows, TextPart
from recbole_unirep.tokenizer.rqvae import RQVAE

N_ITEMS, TEXT_DIM, CODE_DIM, ID_DIM = 7, 5, 4, 2


def make_table(representation, fusion="concat", hidden_size=None, n_special=1):
    torch.manual_seed(0)
    text = torch.cat([torch.zeros(1, TEXT_DIM), torch.randn(N_ITEMS - 1, TEXT_DIM)])
    has_semantic, has_codes, has_id = REPRESENTATIONS[representation]
    width = CODE_DIM * has_semantic + ID_DIM * has_id
    tokenizer = None
    if has_semantic:
        sizes = {"text_dim": TEXT_DIM, "codebook_size": 3, "code_dim": CODE_DIM, "encoder_sizes": [6]}
        tokenizer = RQVAE.from_defaults(**sizes, codebook_init="normal")
        tokenizer.initialise(text[1:], 0)
        if not has_codes:
            tokenizer = tokenizer.without_quantizer()
    return UnifiedItemEmbedding(
        rows=ItemRows(N_ITEMS, N_ITEMS, n_special),
        text=TextPart(tokenizer, text, 1.0) if has_semantic else None,
        code_embedding=None,
        ids=IdPart(ID_DIM, "mean") if has_id else None,
        fusion=FUSIONS[fusion](width, hidden_size, 3),
        hidden_size=hidden_size or width,
        init_std=0.02,
    )


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_a_call_and_the_weight_agree_and_padding_is_zero(representation, training):
    table = make_table(representation).train(training)
    ids = torch.tensor([[0, 3, N_ITEMS], [6, 3, 0]])
    weight = table.weight
    assert weight.shape == (N_ITEMS + 1, table.embedding_dim)
    assert torch.equal(weight[0], torch.zeros(table.embedding_dim))
    torch.testing.assert_close(table(ids), weight[ids])
    with torch.no_grad():
        torch.testing.assert_close(table(ids), weight[ids])


@pytest.mark.parametrize(
    ("representation", "fusion", "hidden_size", "width"),
    [
        ("unified", "concat", None, 6),
        ("semantic", "concat", None, 4),
        ("id", "concat", None, 2),
        ("text", "concat", None, 4),
        ("text_id", "concat", None, 6),
        ("unified", "mlp", None, 6),
        ("unified", "project", 8, 8),
    ],
)
def test_width_depends_on_the_parts(representation, fusion, hidden_size, width):
    assert make_table(representation, fusion, hidden_size).weight.shape[1] == width


def test_a_perceptron_adds_to_the_concatenated_parts():
    table = make_table("unified", fusion="mlp")
    plain = make_table("unified")
    plain.load_state_dict({name: part for name, part in table.state_dict().items() if "fusion" not in name})
    first, _, second = table.fusion.layers
    parts = plain.weight[1:N_ITEMS]
    expected = parts + torch.relu(parts @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(table.weight[1:N_ITEMS], expected)
    assert torch.equal(table.weight[0], torch.zeros(CODE_DIM + ID_DIM))  # padding stays zero
    assert torch.equal(table.weight[N_ITEMS], table.special[0])


def test_the_row_is_quantized_text_then_id():
    table = make_table("unified")
    quantized = table.tokenizer.quantizer.decode(table.tokenizer.encode(table.item_text_embedding[1:]))
    assert torch.equal(table.weight[1:N_ITEMS, :CODE_DIM], quantized)
    assert torch.equal(table.weight[1:N_ITEMS, CODE_DIM:], table.id_embedding.weight)


def test_a_step_encodes_each_distinct_item_once():
    table, seen = make_table("unified"), []
    table.tokenizer.encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    ids = torch.tensor([[0, 3, 3], [5, 3, N_ITEMS]])
    with table.step(ids) as encoded:
        first, second = table(ids), table(torch.tensor([5]))
    assert encoded.items.tolist() == [3, 5]
    assert seen == [2]
    torch.testing.assert_close(first, table.weight[ids])
    torch.testing.assert_close(second, table.weight[[5]])


def test_the_table_is_cached_until_a_tensor_changes():
    table, seen = make_table("unified").eval(), []
    table.tokenizer.encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    with torch.no_grad():
        first = table.weight
        assert table.weight is first
        assert len(seen) == 1
        table.id_embedding.weight[2] += 1  # item 3
        torch.testing.assert_close(table.weight[3] - first[3], torch.tensor([0.0, 0, 0, 0, 1, 1]))
    other = make_table("unified").eval()
    torch.nn.init.ones_(other.id_embedding.weight)
    table.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.equal(table.weight, other.weight)


def test_special_rows_are_learned_and_have_no_text():
    table = make_table("unified", n_special=2)
    table(torch.tensor([N_ITEMS, N_ITEMS + 1])).sum().backward()
    assert torch.equal(table.special.grad, torch.ones(2, table.embedding_dim))
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in table.tokenizer.parameters())


def test_padding_carries_no_gradient():
    table = make_table("unified")
    (table(torch.tensor([0, 0])).sum() * 3).backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in table.parameters())


@pytest.mark.parametrize(
    ("representation", "expected"),
    [("unified", 3 * 3 * 4 + 6 * 2), ("semantic", 3 * 3 * 4), ("id", 6 * 2), ("text", 0), ("text_id", 6 * 2)],
)
def test_table_parameters_count_only_codes_and_ids(representation, expected):
    assert make_table(representation).n_table_parameters == expected


def encoder_gradient(table, pull, read, share):
    """Gradient of the encoder's parameters if `pull` [n_items - 1, H] is the gradient of the items' rows."""
    table.zero_grad()
    table.gradient_share = share
    with table.step(read=read):
        rows = table.weight[1:N_ITEMS]
        (rows * pull).sum().backward()
    return rows.detach(), torch.cat([parameter.grad.flatten() for parameter in table.tokenizer.encoder.parameters()])


@pytest.mark.parametrize("representation", ["unified", "text_id"])
def test_the_gradient_from_a_share_of_the_items_is_unbiased(representation, monkeypatch):
    table, read = make_table(representation), torch.tensor([[0, 2], [5, N_ITEMS]])
    pull = torch.randn(N_ITEMS - 1, table.embedding_dim)
    rows, full = encoder_gradient(table, pull, read, 1.0)
    gradients = []
    for first in range(4):  # the four items that are not read, each drawn in two of four draws
        monkeypatch.setattr(torch, "randperm", lambda n, device, first=first: (torch.arange(n) + first) % n)
        same_rows, gradient = encoder_gradient(table, pull, read, 0.5)
        torch.testing.assert_close(same_rows, rows)
        assert not torch.allclose(gradient, full)
        gradients.append(gradient)
    torch.testing.assert_close(torch.stack(gradients).mean(dim=0), full)


def test_items_in_the_step_always_pass_their_whole_gradient():
    table, read = make_table("unified"), torch.tensor([2, 5])
    pull = torch.zeros(N_ITEMS - 1, table.embedding_dim)
    pull[read - 1] = torch.randn(2, table.embedding_dim)
    _, full = encoder_gradient(table, pull, read, 1.0)
    _, gradient = encoder_gradient(table, pull, read, 0.25)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(gradient, full)


def test_id_dropout_hides_whole_rows_in_training_alone():
    table = make_table("unified")
    table.id_dropout = 0.5
    width = table.id_embedding.embedding_dim
    ids = torch.arange(1, table.n_items)
    torch.manual_seed(0)
    hidden = 0
    for _ in range(50):
        with table.train().step(ids):
            parts = table(ids)[:, -width:]
        is_hidden = (parts == 0).all(dim=1)
        torch.testing.assert_close(parts[~is_hidden], table.id_embedding.weight[~is_hidden])
        hidden += int(is_hidden.sum())
    assert 0.35 < hidden / (50 * len(ids)) < 0.65
    table.eval()
    torch.testing.assert_close(table(ids)[:, -width:], table.id_embedding.weight)
