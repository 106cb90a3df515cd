"""recbole_unirep.scoring.prefix_states: RecBole's HGN, STAMP and NARM for many prefixes of a history at once.

RecBole passes every prefix through the model by itself, filled up with padding to max_length. Here what belongs to an
item is computed once per row, and sums over a prefix grow by one item per place. HGN and STAMP also read the padding,
whose embedding RecBole leaves at its random first value; what it adds depends only on the length of the prefix.

Reference:
    HGN: Ma et al., "Hierarchical Gating Networks for Sequential Recommendation", KDD 2019.
    STAMP: Liu et al., "STAMP: Short-Term Attention/Memory Priority Model for Session-based Recommendation", KDD 2018.
    NARM: Li et al., "Neural Attentive Session-based Recommendation", CIKM 2017.

Each function takes
    model (recbole SequentialRecommender): the model;
    item_seq (Tensor): item ids, 0 pads on the right, at most max_length of them, shape: [B, T];
    users (Tensor): user ids, shape: [B];
    is_wanted (Tensor): True where the prefix that ends there gets a state, shape: [B, T], bool;
and returns the states row by row, shape: [P, D].

Shapes: B rows of T places, L max_length, D embedding_size, P wanted places.
"""

import torch
from torch.nn import functional

QUERIES_AT_ONCE = 8  # prefixes per row that attend together, to the items of the longest of them


def hgn_states(model, item_seq, users, is_wanted):
    """Returns the states of RecBole's HGN."""
    items, user = model.item_embedding(item_seq), model.user_embedding(users)
    padding = model.item_embedding.weight[0].detach()
    of_user = (model.w2(user) + model.b)[:, None]
    features = items * model.sigmoid(model.w1(items) + of_user)  # [B, T, D]
    of_padding = padding * model.sigmoid(model.w1(padding) + of_user)  # [B, 1, D]
    of_place = model.w4(user)  # [B, L]
    gate = model.sigmoid(model.w3(features)[..., 0] + of_place[:, : item_seq.size(1)])  # [B, T]
    padding_gate = model.sigmoid(model.w3(of_padding)[..., 0] + of_place)  # [B, L]
    pool = _mean_by_gate if model.pool_type == "average" else _largest_by_gate
    pooled = pool(gate, features, padding_gate, of_padding)
    n_padding = model.max_seq_length - 1 - torch.arange(item_seq.size(1), device=item_seq.device)
    summed = items.cumsum(dim=1) + n_padding[:, None] * padding
    return (user[:, None] + pooled + summed)[is_wanted]


def _mean_by_gate(gate, features, padding_gate, of_padding):
    """Means of the prefixes' features [B, T, D], and of the padding behind them, weighted by the gates."""
    behind = _behind(padding_gate.flip(1).cumsum(dim=1).flip(1), gate.size(1), 0.0)[..., None]  # [B, T, 1]
    total = (gate[..., None] * features).cumsum(dim=1) + behind * of_padding
    return total / (gate.cumsum(dim=1)[..., None] + behind)


def _largest_by_gate(gate, features, padding_gate, of_padding):
    """The feature [B, T, D] of the prefixes, or of the padding behind them, with the largest gate, times this gate."""
    largest, place = gate.cummax(dim=1)  # [B, T]
    of_items = largest[..., None] * features.gather(1, place[..., None].expand_as(features))
    behind = _behind(padding_gate.flip(1).cummax(dim=1).values.flip(1), gate.size(1), -torch.inf)  # [B, T]
    return torch.where((largest >= behind)[..., None], of_items, behind.clamp(min=0)[..., None] * of_padding)


def _behind(from_each_place, n_places, at_the_end):
    """Moves values [B, L] of the padding from a place on to the place before it, shape: [B, T]."""
    return functional.pad(from_each_place[:, 1:], (0, 1), value=at_the_end)[:, :n_places]


def stamp_states(model, item_seq, users, is_wanted):
    """Returns the states of RecBole's STAMP."""
    items, padding = model.item_embedding(item_seq), model.item_embedding.weight[0].detach()
    place, state_of = _queried(is_wanted)
    n_padding = (model.max_seq_length - 1 - place)[..., None]
    memory = (_at(items.cumsum(dim=1), place) + n_padding * padding) / (place + 1)[..., None]  # [B, Q, D]
    last = _at(items, place)
    query = model.w2(last) + model.w3(memory) + model.b_a
    attended = _attended(model.w1(items), query, model.w0.weight[0], items, place)
    of_padding = model.w0(model.sigmoid(model.w1(padding) + query)) * padding
    hidden = model.tanh(model.mlp_a(attended + n_padding * of_padding + memory))
    return (hidden * model.tanh(model.mlp_b(last)))[state_of]


def narm_states(model, item_seq, users, is_wanted):
    """Returns the states of RecBole's NARM."""
    hidden, _ = model.gru(model.emb_dropout(model.item_embedding(item_seq)))
    place, state_of = _queried(is_wanted)
    last = _at(hidden, place)
    local = _attended(model.a_1(hidden), model.a_2(last), model.v_t.weight[0], hidden, place)
    return model.b(model.ct_dropout(torch.cat([local, last], dim=2)[state_of]))


def one_place(is_wanted):
    """Returns the wanted place of each row, shape: [B, 1]; None if a row has none or several."""
    return is_wanted.int().argmax(dim=1, keepdim=True) if is_wanted.sum(dim=1).eq(1).all() else None


def _queried(is_wanted):
    """Returns the ends of the prefixes to compute [B, Q], and the index of the wanted ones among them."""
    place = one_place(is_wanted)
    if place is not None:
        return place, torch.ones_like(place, dtype=torch.bool)
    return torch.arange(is_wanted.size(1), device=is_wanted.device).expand(is_wanted.shape), is_wanted


def _at(vectors, place):
    """Gathers vectors [B, T, D] at places [B, Q], shape: [B, Q, D]."""
    return vectors.gather(1, place[..., None].expand(-1, -1, vectors.size(2)))


def _attended(keys, queries, weight, values, place):
    """Returns the sum of a prefix's values, each times weight . sigmoid(key + query); nothing adds up to 1.

    Args:
        keys (Tensor): shape: [B, T, E].
        queries (Tensor): one per prefix, shape: [B, Q, E].
        weight (Tensor): shape: [E].
        values (Tensor): shape: [B, T, D].
        place (Tensor): where the prefixes end, shape: [B, Q].

    Returns:
        Tensor: shape: [B, Q, D].
    """
    parts = []
    for query, end in zip(queries.split(QUERIES_AT_ONCE, dim=1), place.split(QUERIES_AT_ONCE, dim=1)):
        n_read = int(end.max()) + 1
        strength = torch.add(keys[:, None, :n_read], query[:, :, None]).sigmoid_() @ weight  # [B, Q, T]
        is_behind = torch.arange(n_read, device=keys.device) > end[..., None]
        parts.append(strength.masked_fill(is_behind, 0.0) @ values[:, :n_read])
    return torch.cat(parts, dim=1)
