"""A small `.item` file with what real ones hold (quotes, a line break, entities, gaps), and a fake encoder."""

import numpy as np
import pytest

from dataset_prep import embedding

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


class CountingEncoder:
    """Encodes a sentence as (number of characters, 1).

    Attributes:
        asked (list of list of str): the sentences of each call.
        calls_left (int or None): calls until it raises KeyboardInterrupt; None never raises.
    """

    def __init__(self):
        self.asked, self.calls_left = [], None

    def encode(self, sentences, **options):
        if self.calls_left == 0:
            raise KeyboardInterrupt
        self.calls_left = self.calls_left and self.calls_left - 1
        self.asked.append(list(sentences))
        return np.array([[len(sentence), 1] for sentence in sentences], dtype=np.float32)


@pytest.fixture
def encoder(monkeypatch):
    """A CountingEncoder in the place of every sentence-transformers model."""
    encoder = CountingEncoder()
    monkeypatch.setattr(embedding, "load_encoder", lambda name, device, beside, others: encoder)
    return encoder
