"""A small `.item` file with everything that a real one holds: quotes, a line break, entities, gaps."""

import pytest

ITEM_FILE = (
    "item_id:token\ttitle:token\tcategories:token_seq\tprice:float\tbrand:token\n"
    "i1\tCrabtree &amp; Evelyn  Hand\t'Beauty', 'Creams, Gels & Lotions'\t9.49\tCrabtree\n"
    'i2\tPrada Candy\t"\'Beauty\', ""Women\'s"""\t\t\n'
    'i3\t"A ""fine""\nbrush"\tet(\t5\t \n'
    "i4\t\t\t\t\n"
)


@pytest.fixture
def folder(tmp_path):
    """A dataset folder `toy` with its `.item` file."""
    (tmp_path / "toy.item").write_text(ITEM_FILE, encoding="utf-8")
    return tmp_path
