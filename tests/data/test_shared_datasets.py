"""The prepared Amazon datasets have the sizes of the paper's Table 3."""

import numpy as np
import pytest

from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset


@pytest.mark.parametrize(
    ("dataset", "n_users", "n_items", "n_interactions"),
    [
        ("amazon-beauty", 22_363, 12_101, 198_502),
        ("amazon-sports-outdoors", 35_598, 18_357, 296_337),
        ("amazon-toys-games", 19_412, 11_924, 167_597),
    ],
)
def test_sizes_of_table_3(shared_datasets, dataset, n_users, n_items, n_interactions):
    config = Config("SASRec", dataset, config_dict={"data_path": str(shared_datasets)})
    built = create_dataset(config)
    assert (built.user_num - 1, built.item_num - 1, built.inter_num) == (n_users, n_items, n_interactions)
    built._change_feat_format()
    lengths = np.diff(built.sequences.offsets)[1:]
    assert lengths.min() >= 5
    assert np.bincount(built.sequences.items)[1:].min() >= 5
