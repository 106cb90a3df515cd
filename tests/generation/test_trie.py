"""The trie, checked against the IDs it was built from."""

import torch

from recbole_unirep.generation.trie import PrefixTrie, close_codes

#            two items share an ID, one ID ends after a level, another after two
CODES = torch.tensor([[2, 0, 1], [0, 1, -1], [2, 0, 1], [0, -1, -1], [2, 0, 0], [2, 3, 1], [0, 1, 2]])
SIZES = [3, 4, 3]


def test_ids_that_stop_early_get_a_code_that_ends_them():
    closed = close_codes(CODES, SIZES)
    assert closed.codebook_sizes == [3, 5, 4]  # nothing ends before the second level
    assert closed.codes[[1, 3]].tolist() == [[0, 1, 3], [0, 4, 3]]
    assert closed.is_past_end[[1, 3]].tolist() == [[False, False, False], [False, False, True]]
    assert not closed.is_past_end[[0, 2, 4, 5, 6]].any()


def test_an_appended_number_is_not_past_the_end():
    """collisions=append appends a number to IDs that stop early; the number is trained and scored."""
    closed = close_codes(torch.tensor([[1, -1, 0], [1, -1, 1], [0, 1, 0], [1, 0, 0]]), [2, 2, 2])
    assert closed.codebook_sizes == [2, 3, 2]
    assert closed.codes.tolist() == [[1, 2, 0], [1, 2, 1], [0, 1, 0], [1, 0, 0]]
    assert not closed.is_past_end.any()


def test_ids_of_one_length_are_unchanged():
    codes = torch.tensor([[1, 0], [0, 1]])
    closed = close_codes(codes, [2, 2])
    assert torch.equal(closed.codes, codes) and closed.codebook_sizes == [2, 2] and not closed.is_past_end.any()


def test_children_are_the_codes_that_follow_a_prefix():
    trie = PrefixTrie(close_codes(CODES, SIZES))
    assert trie.n_leaves == 6 and trie.n_levels == 3
    node = torch.tensor([0])
    child, is_child = trie.children(0, node)
    assert trie.levels[0].code[child[is_child]].tolist() == [0, 2]
    child, is_child = trie.children(1, child)
    found = [trie.levels[1].code[row[valid]].tolist() for row, valid in zip(child[0], is_child[0])]
    assert found == [[1, 4], [0, 3]]
    second = child[is_child]
    child, is_child = trie.children(2, second)
    found = [trie.levels[2].code[row[valid]].tolist() for row, valid in zip(child, is_child)]
    assert found == [[2, 3], [3], [0, 1], [1]]
    assert trie.levels[2].is_past_end.tolist() == [False, False, True, False, False, False]


def test_paths_spell_the_ids_and_items_with_the_same_id_share_a_leaf():
    closed = close_codes(torch.randint(5, (200, 3), generator=torch.Generator().manual_seed(0)), [5, 5, 5])
    trie = PrefixTrie(closed)
    assert torch.equal(trie.ids[trie.leaf], closed.codes)
    node, spelled = torch.arange(trie.n_leaves), []
    for level in reversed(trie.levels):
        spelled.insert(0, level.code[node])
        node = level.parent[node]
    assert torch.equal(torch.stack(spelled, dim=1), trie.ids) and not node.any()
    same_id = (closed.codes[:, None] == closed.codes).all(dim=-1)
    assert torch.equal(trie.leaf[:, None] == trie.leaf, same_id)


def test_a_part_contains_the_ancestors_of_its_leaves():
    trie = PrefixTrie(close_codes(CODES, SIZES))
    assert trie.part(0, 0, 2) == slice(0, 1) and trie.part(0, 2, 3) == slice(0, 2)
    assert trie.part(1, 2, 3) == slice(1, 3) and trie.part(2, 2, 3) == slice(2, 4)


def test_a_catalogue_of_one_item_has_a_trie():
    trie = PrefixTrie(close_codes(torch.tensor([[1, 2]]), [3, 3]))
    child, is_child = trie.children(0, torch.tensor([[0, 0]]))
    assert child.tolist() == [[[0], [0]]] and is_child.all() and trie.n_leaves == 1
