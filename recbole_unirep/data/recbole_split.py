"""recbole_unirep.data.recbole_split: RecBole's own data, split, loaders and candidates, for `protocol: recbole`.

What makes stock numbers is left as it is: times in float32 (RecBole issues 1653, 2204), its leave-one-out rule for
each kind of model, items without interactions in the catalogue, candidates drawn anew at every evaluation from
numpy's global generator (issue 2077), which exclude all interactions up to the split for a general model and the
target alone for a sequential one, and scores of earlier items set to -inf for general models alone.

What is equal to what: a whole run in one process has the validation and test metrics of stock's `run_recbole` with the
same keys and seed, as both draw the same numbers in the same order; another number of epochs means other candidates in
the test. Of one checkpoint the metrics are those of stock's `Trainer.evaluate`: always in `mode: full`, and in
sampled modes where numpy's global generator stands at the same place before both.
"""

from logging import getLogger

import numpy as np
from recbole.data import dataset as recbole
from recbole.data.utils import create_samplers, get_dataloader

from recbole_unirep.data.cold_items import cold_items_asked
from recbole_unirep.data.dataset import class_for
from recbole_unirep.data.reading import check_prepared
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.data.split import Data, recbole_loader


class Recorded:
    """Mixin of a RecBole Dataset that changes nothing and keeps each user's order for the fingerprint."""

    place_in_whole = None

    def _change_feat_format(self):
        users, items = (self.inter_feat[field].to_numpy() for field in (self.uid_field, self.iid_field))
        if self.config["eval_args"]["order"] == "TO":  # as RecBole sorts them later
            order = np.argsort(self.inter_feat[self.time_field].to_numpy(dtype=np.float32), kind="stable")
            users, items = users[order], items[order]
        self.sequences = self.whole_sequences = UserSequences.from_arrays(users, items, self.user_num)
        super()._change_feat_format()


class Dataset(Recorded, recbole.Dataset):
    """Of general and context-aware models."""


class SequentialDataset(Recorded, recbole.SequentialDataset):
    """Of sequential models."""


class KnowledgeBasedDataset(Recorded, recbole.KnowledgeBasedDataset):
    """Of models over a knowledge graph."""


class GRU4RecKGDataset(Recorded, recbole.GRU4RecKGDataset):
    """Of GRU4RecKG."""


class KSRDataset(Recorded, recbole.KSRDataset):
    """Of KSR."""


class DIENDataset(Recorded, recbole.DIENDataset):
    """Of DIEN."""


DATASETS = {part.__name__: part for part in (
    Dataset, SequentialDataset, KnowledgeBasedDataset, GRU4RecKGDataset, KSRDataset, DIENDataset
)}  # fmt: skip


def load_recbole_data(config):
    """Filters, numbers and splits a dataset as stock RecBole does under `eval_args`.

    Args:
        config (Config): ours.

    Returns:
        Data: `train_data`, `valid` and `test` are RecBole's loaders.

    Raises:
        ValueError: an option that RecBole refuses.
    """
    if config["tie_order"] != "file":
        raise ValueError(f"tie_order={config['tie_order']}: protocol=recbole keeps RecBole's order: leave the key out")
    if cold_items_asked(config):
        raise ValueError(f"split={config['split']}: protocol=recbole keeps RecBole's split: leave the key out")
    check_prepared(config)
    try:
        dataset = class_for(config, DATASETS)(config)
        getLogger().info(dataset)
        parts = dataset.build()
    except (NotImplementedError, AssertionError) as error:  # RecBole's way to refuse an option
        raise ValueError(f"RecBole refuses eval_args {config['eval_args']}: {error}") from error
    samplers = create_samplers(config, dataset, parts)
    train_data = recbole_loader(config, dataset, parts[0], samplers[0])
    valid, test = (
        get_dataloader(config, split)(config, part, sampler, shuffle=False)
        for split, part, sampler in zip(("valid", "test"), parts[1:], samplers[1:])
    )
    users, items = (dataset.field2id_token[field] for field in (dataset.uid_field, dataset.iid_field))
    fingerprint = dataset.sequences.fingerprint(users, items)
    getLogger().info(f"dataset_fingerprint {fingerprint}")
    return Data(parts[0], train_data, valid, test, fingerprint)
