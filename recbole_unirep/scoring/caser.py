"""recbole_unirep.scoring.caser: RecBole's Caser for many prefixes of a history at once.

Caser looks at a history through windows: filters of every height h from 1 to max_length slide over it, and the largest
answer of each filter counts. RecBole computes all windows anew for every prefix. Two prefixes of one history share
every window that lies within both. Only windows that reach into the padding behind a prefix are its own, and they hold
the last m < h items of the prefix. So all windows of all prefixes are the sums of the first m rows of a filter over m
items, and those sums grow from m - 1 to m by one matrix product for all heights, places and rows together. The rest of
a filter meets the padding's embedding, which RecBole leaves at its random first value.

Reference:
    Tang and Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM 2018.

Shapes: B rows of T places, L max_length (the heights), C channels per height, D embedding_size, P wanted places.
"""

import torch
from torch.nn import functional

from recbole_unirep.scoring.prefix_states import one_place

PLACES_AT_ONCE = 2048  # places whose windows are compared together, to bound the memory
FULL = -1  # instead of a number of items: the window lies within the prefix


class _LargestWindows(torch.autograd.Function):
    """For each prefix and filter the largest sum over windows, without bias, shape: [B, T, L, C].

    `items` are the embeddings [B, T, D], `filters` the weights [L, C, L, D], zeros from row h of height h on. `tails`
    [L, L, C] are added to windows of m items: tails[m] is what the rows of each filter from row m on give for padding.
    """

    @staticmethod
    def forward(ctx, items, filters, tails):
        n_heights, n_rows, n_places = len(filters), *items.shape[:2]
        height = torch.arange(1, n_heights + 1, device=items.device)
        end = torch.arange(1, n_places + 1, device=items.device)  # number of items of the prefix that ends at a place
        has_padding = end[:, None] <= n_heights - height  # a window that holds padding alone, [T, L]
        largest = torch.where(has_padding[:, :, None], tails[0], -torch.inf)
        largest = largest.expand(n_rows, -1, -1, -1).contiguous()
        size = largest.new_zeros(largest.shape, dtype=torch.int16)  # items in the largest window
        start = torch.zeros_like(size)  # of the largest window, if it is full
        sums = None
        for m in range(1, n_places + 1):  # windows of m items; the first height left is m, whose windows are full
            sums = _grown(sums, items, filters, m)
            full, first = sums[:, :, 0].cummax(dim=1)  # over the full windows up to each place
            own = largest[:, m - 1 :, m - 1]
            is_larger = full > own
            own[is_larger], start[:, m - 1 :, m - 1][is_larger] = full[is_larger], first[is_larger].to(start.dtype)
            size[:, m - 1 :, m - 1].masked_fill_(is_larger, FULL)
            if m == n_heights:
                break
            partial, so_far = sums[:, :, 1:] + tails[m, m:], largest[:, m - 1 :, m:]
            fits = (end[: n_places - m + 1, None] - 1 <= n_heights - height[m:])[:, :, None]  # starts early enough
            is_larger = (partial > so_far).logical_and_(fits)
            torch.where(is_larger, partial, so_far, out=so_far)
            size[:, m - 1 :, m:].masked_fill_(is_larger, m)
        ctx.save_for_backward(items, filters, tails, size, start)
        return largest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        items, filters, tails, size, start = ctx.saved_tensors
        n_rows, n_places, _ = items.shape
        to_items, to_filters, to_tails = map(torch.zeros_like, (items, filters, tails))
        to_tails[0] = (gradient * (size == 0)).sum(dim=(0, 1))
        of_sums = None
        for m in range(n_places, 0, -1):
            part = slice(m - 1, None)
            of_windows = gradient[:, part, part] * (size[:, part, part] == m)
            to_tails[m : m + 1, m:] = of_windows[:, :, 1:].sum(dim=(0, 1))
            of_full = gradient[:, part, m - 1] * (size[:, part, m - 1] == FULL)
            of_windows[:, :, 0].scatter_add_(1, start[:, part, m - 1].long(), of_full)
            if of_sums is not None:  # the sums of m items are part of those of m + 1 items
                of_windows[:, :-1, 1:] += of_sums
            of_sums = of_windows
            flat = of_windows.flatten(2)  # [B, T - m + 1, (L - m + 1) C]
            to_items[:, part] += flat @ _rows_of_filters(filters, m)
            product = flat.flatten(0, 1).T @ items[:, part].flatten(0, 1)
            to_filters[part, :, m - 1] = product.view(-1, *filters.shape[1:2], filters.shape[3])
        return to_items, to_filters, to_tails


@torch.no_grad()
def _largest_windows_of_one(items, place, filters, tails):
    """As `_LargestWindows`, for the prefix that ends at one place [B] of each row, shape: [B, L, C]."""
    n_heights, n_items = len(filters), place + 1
    height, row = torch.arange(1, n_heights + 1, device=items.device), torch.arange(len(items), device=items.device)
    has_padding = n_items[:, None] <= n_heights - height  # [B, L]
    largest, sums = torch.where(has_padding[:, :, None], tails[0], -torch.inf), None
    for m in range(1, items.size(1) + 1):
        sums, last = _grown(sums, items, filters, m), n_items - m  # where the last window of m items starts
        is_behind = torch.arange(sums.size(1), device=items.device) > last[:, None]
        full = sums[:, :, 0].masked_fill(is_behind[:, :, None], -torch.inf).amax(dim=1)
        largest[:, m - 1] = torch.maximum(largest[:, m - 1], full)
        if m < n_heights:
            fits = (last[:, None] >= 0) & (last[:, None] <= n_heights - height[m:])
            partial = (sums[row, last.clamp(min=0), 1:] + tails[m, m:]).masked_fill(~fits[:, :, None], -torch.inf)
            largest[:, m:] = torch.maximum(largest[:, m:], partial)
    return largest


def _grown(sums, items, filters, m):
    """Returns the sums over windows of m items from those of m - 1, for the heights m and above.

    Args:
        sums (Tensor or None): shape: [B, T - m + 2, L - m + 2, C]; None if m is 1.

    Returns:
        Tensor: by start of the window and height, shape: [B, T - m + 1, L - m + 1, C].
    """
    products = items[:, m - 1 :] @ _rows_of_filters(filters, m).T
    products = products.unflatten(2, (-1, filters.size(1)))
    return products if sums is None else products.add_(sums[:, :-1, 1:])


def _rows_of_filters(filters, m):
    """Returns row m of the filters that are at least m high, shape: [(L - m + 1) C, D]."""
    return filters[m - 1 :, :, m - 1].flatten(0, 1)


def caser_states(model, item_seq, users, is_wanted):
    """Returns the states of RecBole's Caser for prefixes of rows.

    Args:
        model (recbole Caser): the model.
        item_seq (Tensor): item ids, 0 pads on the right, at most max_length of them, shape: [B, T].
        users (Tensor): user ids, shape: [B].
        is_wanted (Tensor): True where the prefix that ends there gets a state, shape: [B, T], bool.

    Returns:
        Tensor: row by row, shape: [P, D].
    """
    filters, tails = _filters(model)
    n_rows = max(1, PLACES_AT_ONCE // item_seq.size(1))
    parts = zip(item_seq.split(n_rows), is_wanted.split(n_rows))
    convolved = torch.cat([_convolved(model, filters, tails, *part) for part in parts])
    reduced = model.ac_fc(model.fc1(model.dropout(convolved)))
    owner = users[is_wanted.nonzero()[:, 0]]
    return model.ac_fc(model.fc2(torch.cat([reduced, model.user_embedding(owner)], dim=1)))


def _convolved(model, filters, tails, item_seq, is_wanted):
    """Returns the outputs of both convolutions for the wanted places, shape: [P, n_v D + L C]."""
    items = model.item_embedding(item_seq)
    weight = model.conv_v.weight[:, 0, :, 0].T[:, :, None]  # [L, n_v, 1]
    of_padding = weight.flip(0).cumsum(dim=0).flip(0) * model.item_embedding.weight[0].detach()  # from each place on
    of_padding = functional.pad(of_padding[1:], (0, 0, 0, 0, 0, 1))[: item_seq.size(1)]  # behind it, [T, n_v, D]
    vertical = (weight[: item_seq.size(1)] * items[:, :, None]).cumsum(dim=1) + of_padding
    vertical = vertical[is_wanted] + model.conv_v.bias[:, None]
    bias = torch.stack([convolution.bias for convolution in model.conv_h])  # [L, C]
    place = None if torch.is_grad_enabled() else one_place(is_wanted)
    if place is None:
        windows = _LargestWindows.apply(items, filters, tails)[is_wanted]
    else:
        windows = _largest_windows_of_one(items, place[:, 0], filters, tails)
    horizontal = model.ac_conv(windows + bias)
    return torch.cat([vertical.flatten(1), horizontal.flatten(1)], dim=1)


def _filters(model):
    """Returns the horizontal filters, filled up with zeros to equal heights, and their sums over padding.

    Returns:
        tuple[Tensor, Tensor]: shape: [L, C, L, D]; from each row on, shape: [L, L, C].
    """
    n_heights = len(model.conv_h)
    weights = [convolution.weight[:, 0] for convolution in model.conv_h]  # [C, h, D]
    filters = torch.stack([functional.pad(weight, (0, 0, 0, n_heights - weight.size(1))) for weight in weights])
    of_padding = filters @ model.item_embedding.weight[0].detach()  # [L, C, L]
    return filters, of_padding.flip(2).cumsum(dim=2).flip(2).permute(2, 0, 1)
