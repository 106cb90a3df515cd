"""Copies the weights of our T5 stacks into the T5 of transformers, to compare speed and states."""

import torch


@torch.no_grad()
def copy_stack(ours, theirs):
    """Copies our stack's weights into transformers' stack."""
    for mine, block in zip(ours.blocks, theirs.block):
        pairs = [(mine.attention, mine.norm, block.layer[0].SelfAttention, block.layer[0].layer_norm)]
        if hasattr(mine, "memory_attention"):
            other = block.layer[1]
            pairs.append((mine.memory_attention, mine.memory_norm, other.EncDecAttention, other.layer_norm))
        for attention, norm, to, to_norm in pairs:
            for name, part in zip("qkvo", (attention.query, attention.key, attention.value, attention.output)):
                getattr(to, name).weight.copy_(part.weight)
            to_norm.weight.copy_(norm.weight)
        last = block.layer[-1]
        last.DenseReluDense.wi.weight.copy_(mine.inner.weight)
        last.DenseReluDense.wo.weight.copy_(mine.outer.weight)
        last.layer_norm.weight.copy_(mine.feed_forward_norm.weight)
    theirs.block[0].layer[0].SelfAttention.relative_attention_bias.weight.copy_(ours.distance_bias.weight)
    theirs.final_layer_norm.weight.copy_(ours.norm.weight)
