"""Search for items by words of titles or tokens."""

import pytest

from recbole_unirep.serving.item_search import ItemSearch

TITLES = {
    "1": "Star Wars",
    "2": "Amélie",
    "3": "Wars of the Stars",
    "4": "Lone Star",
    "5": "Rockstar",
    "50": "",
    "six": "Star",
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("star", ["six", "1", "4", "3", "5"]),  # starts with it, shorter first; starts a word; contains it
        ("WARS star", ["1", "3"]),
        ("amelie", ["2"]),
        ("50", ["50"]),
        ("5", ["5", "50"]),  # the token itself first
        ("six", ["six"]),
        ("starz", []),
        ("  ", list(TITLES)),
    ],
)
def test_matches_contain_every_word_and_the_best_come_first(query, found):
    search = ItemSearch(list(TITLES), list(TITLES.values()))
    rows, n_found = search.find(query, limit=10)
    assert [search.tokens[row] for row in rows] == found and n_found == len(found)
    assert search.find(query, limit=1) == (rows[:1], n_found)
