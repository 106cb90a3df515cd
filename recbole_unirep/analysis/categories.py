"""Measures how well the codes of each level match the items' categories.

Shapes: N items, L levels, C categories. Codes may be an array or a tensor on any device.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Figures 4 to 6.

`category_purity` is not in the paper, which shows three codes of each level; this measure covers all codes.
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
        codes (np.ndarray): codes with the most items, fullest first, -1 pads levels with fewer codes, shape: [L, M],
            int64.
        counts (np.ndarray): number of items per code and category, shape: [L, M, C], int64.
        totals (np.ndarray): number of items per category, shape: [C], int64.
    """

    categories: list
    codes: np.ndarray
    counts: np.ndarray
    totals: np.ndarray


def common_categories(categories, n_most: int) -> tuple:
    """Keeps the most common categories and merges all others into one.

    Args:
        categories (sequence of str or int): one per item, shape: [N].
        n_most (int): number of categories that keep their name.

    Returns:
        tuple[list, np.ndarray]: at most n_most categories, the most common first, equally common ones sorted, then
        'other' if there are more; and the place of each item's category in this list, shape: [N], int64.
    """
    categories = np.asarray(categories).tolist()
    by_count = sorted(Counter(categories).items(), key=lambda pair: (-pair[1], pair[0]))
    names = [name for name, _ in by_count[:n_most]]
    place = {name: number for number, name in enumerate(names)}
    groups = np.array([place.get(name, len(names)) for name in categories], dtype=np.int64)
    return names + [OTHER] * (len(by_count) > n_most), groups


def fullest_codes_by_category(codes, categories, *, codebook_size, n_codes: int, n_categories: int):
    """Counts items by category in the fullest codes of each level.

    Args:
        codes (Tensor or ndarray): integers in 0..codebook_size-1, -1 on levels that an ID does not use, shape: [N, L].
        categories (sequence of str): one per item, shape: [N].
        codebook_size (int or sequence of int): number of codes of all levels, or of each.
        n_codes (int): number of codes per level; of equally full codes the lower one comes first.
        n_categories (int): number of categories that keep their name; the others are merged.

    Returns:
        CategoryCounts: M is the smaller of n_codes and the largest codebook_size.

    Raises:
        ValueError: a code is outside its codebook, or the numbers of codes and categories differ.
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
    """Fraction of items whose category is the most common one among the items with their code, one float per level.

    Items whose ID does not use a level (-1) are not counted on that level.

    If all items have the same code, the purity is the fraction of the most common category; if each code holds a single
    category, it is 1. It grows with the number of codes, so compare it with the purity of shuffled categories.

    Args:
        codes (Tensor or ndarray): integers, shape: [N, L].
        categories (sequence of str): one per item, shape: [N].

    Raises:
        ValueError: the numbers of codes and categories differ.
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
            f"got codes of {len(codes)} items and categories of {len(categories)}: give both for the same items"
        )
