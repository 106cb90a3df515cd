"""Our stacks against the T5 of transformers with the same weights, and steps against whole sequences."""

import runpy
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from recbole_unirep.modules.t5 import BlockSizes, T5Stack

SIZES = BlockSizes(hidden_size=16, n_heads=3, head_size=8, inner_size=20)
B, S, N = 3, 30, 4
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def make(is_causal, reads_memory, dropout=0.0):
    torch.manual_seed(int(is_causal) + 2 * int(reads_memory))
    parts = {"n_layers": 2, "sizes": SIZES, "n_buckets": 8, "max_distance": 12}
    return T5Stack(dropout=dropout, is_causal=is_causal, reads_memory=reads_memory, **parts).eval()


def copy_stack(ours, theirs):
    """Copies our weights into transformers' stack, as the decoders' benchmark does."""
    runpy.run_path(str(BENCHMARKS / "their_t5.py"))["copy_stack"](ours, theirs)


@pytest.fixture
def history():
    draw = torch.Generator().manual_seed(3)
    length = torch.tensor([S, 1, 17])
    return torch.randn(B, S, SIZES.hidden_size, generator=draw), torch.arange(S) < length[:, None]


@torch.no_grad()
def test_encoder_and_decoder_are_those_of_transformers(history):
    config = T5Config(
        vocab_size=11,
        d_model=16,
        d_kv=8,
        d_ff=20,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=3,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
    )
    theirs = T5ForConditionalGeneration(config).eval()
    encoder, decoder = make(is_causal=False, reads_memory=False), make(is_causal=True, reads_memory=True)
    for part in (*encoder.parameters(), *decoder.parameters()):
        part.add_(0.1 * torch.randn(part.shape))  # also the weights that start as ones
    copy_stack(encoder, theirs.encoder)
    copy_stack(decoder, theirs.decoder)
    (x, is_read), y = history, torch.randn(B, N, 16)
    encoded = encoder(x, is_read)
    expected = theirs.encoder(inputs_embeds=x, attention_mask=is_read.long()).last_hidden_state
    torch.testing.assert_close(encoded[is_read], expected[is_read])
    found = decoder(y, torch.ones(B, N, dtype=torch.bool), decoder.remember(encoded, is_read))
    expected = theirs.decoder(
        inputs_embeds=y, encoder_hidden_states=expected, encoder_attention_mask=is_read.long()
    ).last_hidden_state
    torch.testing.assert_close(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("reads_memory", [False, True])
def test_steps_give_the_states_of_whole_sequences(history, reads_memory):
    """Two tokens appended to each of several prefixes, the second to the extension of another prefix."""
    stack, (x, is_read) = make(is_causal=True, reads_memory=reads_memory), history
    first, second = torch.randn(B, N, 16), torch.randn(B, N, 16)
    parent = torch.tensor([[3, 0, 0, 1]]).expand(B, N)
    if reads_memory:
        memory = stack.remember(x, is_read)
        state, path = stack.step(first, memory, None, None)
    else:
        _, memory = stack.read_history(x, is_read)
        state, path = stack.step(first, memory, None, None)
    later, _ = stack.step(second, memory, path, parent)
    for user in range(B):
        for prefix in range(N):
            tokens = torch.stack([first[user, parent[user, prefix]], second[user, prefix]])
            if reads_memory:
                of_user = stack.remember(x[user : user + 1], is_read[user : user + 1])
                whole = stack(tokens[None], torch.ones(1, 2, dtype=torch.bool), of_user)[0]
            else:
                tokens = torch.cat([x[user][is_read[user]], tokens])
                whole = stack(tokens[None], torch.ones(1, len(tokens), dtype=torch.bool))[0, -2:]
            torch.testing.assert_close(whole[0], state[user, parent[user, prefix]], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(whole[1], later[user, prefix], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_causal_stack_ignores_later_tokens(history):
    stack, (x, _) = make(is_causal=True, reads_memory=False), history
    is_read = torch.ones(B, S, dtype=torch.bool)
    changed = x.clone()
    changed[:, 10:] += 1
    before, after = stack(x, is_read), stack(changed, is_read)
    torch.testing.assert_close(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])
