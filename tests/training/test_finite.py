"""The description of the batch in the error of a diverged loss; tests/test_faults.py covers the whole message."""

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_unirep.training.finite import Finite


@pytest.mark.parametrize(
    ("columns", "description"),
    [
        ({"item": [5, 6]}, ""),  # a graph model's batch of items
        ({"user": [2, 1, 2]}, " (a batch of 3 rows, users 1, 2)"),
        ({"user": [4, 3, 2, 1]}, " (a batch of 4 rows, users 1, 2, 3, ..)"),
    ],
)
def test_a_batch_is_described_by_its_users_if_it_has_any(columns, description):
    finite = Finite()
    finite.config = {"USER_ID_FIELD": "user"}
    finite.watched_batch = Interaction({name: torch.tensor(values) for name, values in columns.items()})
    assert finite._batch() == description
