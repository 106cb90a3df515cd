"""How far the codes of each level agree with the items' categories.

Shapes: N items, L levels, C categories. Codes may be an array or a tensor on any device.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Figures 4 to 6.

`category_purity` is ours: the paper shows three codes of each level, it speaks of all of them.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch

from recbole_unirep.analysis.codebook import level_counts

OTHER = "other"


class CategoryCounts(NamedTuple):
    """Items by category in the fullest codes of each level.

    Attributes:
        categories (list of str): length C.
        codes (np.ndarray): the codes that most items have, fullest first, -1 where a level has fewer, shape: [L, M],
            int64.
        counts (np.ndarray): items of each category that have the code, shape: [L, M, C], int64.
        totals (np.ndarray): items of each category, shape: [C], int64.
    """

    categories: list
    codes: np.ndarray
    counts: np.ndarray
    totals: np.ndarray


def common_categories(categories, n_most: int) -> tuple:
    """The most common categories, and everything else under one name.

    Args:
        categories (sequence of str or int): one an item, shape: [N].
        n_most (int): categories that keep their name.

    Returns:
        tuple[list, np.ndarray]: at most n_most categories, most common first, of equally common ones the lower first,
        and 'other' where there are more; and the place of each item's category among them, shape: [N], int64.
    """
    categories = np.asarray(categories).tolist()
    by_count = sorted(Counter(categories).items(), key=lambda pair: (-pair[1], pair[0]))
    names = [name for name, _ in by_count[:n_most]]
    place = {name: number for number, name in enumerate(names)}
    groups = np.array([place.get(name, len(names)) for name in categories], dtype=np.int64)
    return names + [OTHER] * (len(by_count) > n_most), groups


def fullest_codes_by_category(codes, categories, *, codebook_size, n_codes: int, n_categories: int):
    """Counts of items by category in the fullest codes of each level.

    Args:
        codes (Tensor or ndarray): integers in 0..codebook_size-1; levels that an ID does not use hold -1, shape:
            [N, L].
        categories (sequence of str): one an item, shape: [N].
        codebook_size (int or sequence of int): codes of all levels, or of each.
        n_codes (int): codes shown of a level; of two equally full ones the lower comes first.
        n_categories (int): categories that keep their name, the others are counted together.

    Returns:
        CategoryCounts: M is n_codes, or the largest codebook_size where that is smaller.

    Raises:
        ValueError: a code lies outside its codebook, or codes and categories are of different numbers of items.
    """
    codes = torch.as_tensor(codes).cpu()
    _check_lengths(codes, categories)
    names, groups = common_categories(categories, n_categories)
    by_level = [counts.argsort(descending=True, stable=True)[:n_codes] for counts in level_counts(codes, codebook_size)]
    fullest = torch.nn.utils.rnn.pad_sequence(by_level, batch_first=True, padding_value=-1).numpy()
    counts = [
        [np.bincount(groups[(level.numpy() == code) & (code >= 0)], minlength=len(names)) for code in codes_of_level]
        for level, codes_of_level in zip(codes.unbind(dim=-1), fullest)
    ]
    return CategoryCounts(names, fullest, np.array(counts), np.bincount(groups, minlength=len(names)))


def category_purity(codes, categories) -> list:
    """Share of items whose category is the most common one among the items with their code, one float a level.

    Items whose ID does not use a level (-1) do not count there.

    It is the share of the most common category where all items have one code, 1 where each code holds one category,
    and rises by itself with the number of codes: compare it with that of shuffled categories.

    Args:
        codes (Tensor or ndarray): integers, shape: [N, L].
        categories (sequence of str): one an item, shape: [N].

    Raises:
        ValueError: codes and categories are of different numbers of items.
    """
    codes = torch.as_tensor(codes).cpu().numpy()
    _check_lengths(codes, categories)
    group = np.unique(np.asarray(categories, dtype=str), return_inverse=True)[1].reshape(-1)
    shares = []
    for level in codes.T:
        has_one = level >= 0
        counts = np.zeros((max(level.max() + 1, 1), group.max() + 1), dtype=np.int64)
        np.add.at(counts, (level[has_one], group[has_one]), 1)
        shares.append(counts.max(axis=1).sum().item() / max(has_one.sum().item(), 1))
    return shares


def _check_lengths(codes, categories):
    if len(codes) != len(categories):
        raise ValueError(
            f"{len(codes)} items have codes and {len(categories)} have categories: give both of the same items"
        )
