"""recbole_unirep.data.recbole_split: RecBole's own data, split, loaders and candidates, for `protocol: recbole`.

Everything that stock RecBole's numbers depend on is kept:

- Times are float32 (RecBole issues 1653, 2204).
- The leave-one-out rule differs between kinds of models.
- The catalogue contains items without interactions.
- Every evaluation draws new candidates from numpy's global generator (issue 2077). They exclude all interactions up to
  the split for a general model, but only the target for a sequential one.
- Only general models set the scores of earlier items to -inf.

A whole run in one process has the validation and test metrics of stock's `run_recbole` with the same keys and seed:
both draw the same random numbers in the same order. Another number of epochs changes the candidates of the test. For a
given checkpoint, the metrics equal those of stock's `Trainer.evaluate`: always in `mode: full`, and in sampled modes if
numpy's global generator is in the same state before both.
"""

from logging import getLogger

import numpy as np
from recbole.data import dataset as recbole
from recbole.data.utils import create_samplers, get_dataloader

from recbole_unirep.data.cold_items import requested_cold_items
from recbole_unirep.data.dataset import class_for
from recbole_unirep.data.reading import check_prepared
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.data.split import Data, fit_schedule, recbole_loader


class Recorded:
    """Mixin of a RecBole Dataset that changes no data and records each user's order for the fingerprint."""

    place_in_whole = None

    def _change_feat_format(self):
        users, items = (self.inter_feat[field].to_numpy() for field in (self.uid_field, self.iid_field))
        if self.config["eval_args"]["order"] == "TO":  # the order in which RecBole sorts them later
            order = np.argsort(self.inter_feat[self.time_field].to_numpy(dtype=np.float32), kind="stable")
            users, items = users[order], items[order]
        self.sequences = self.whole_sequences = UserSequences.from_arrays(users, items, self.user_num)
        super()._change_feat_format()


class Dataset(Recorded, recbole.Dataset):
    """Dataset of general and context-aware models."""


class SequentialDataset(Recorded, recbole.SequentialDataset):
    """Dataset of sequential models."""


class KnowledgeBasedDataset(Recorded, recbole.KnowledgeBasedDataset):
    """Dataset of models over a knowledge graph."""


class GRU4RecKGDataset(Recorded, recbole.GRU4RecKGDataset):
    """Dataset of GRU4RecKG."""


class KSRDataset(Recorded, recbole.KSRDataset):
    """Dataset of KSR."""


class DIENDataset(Recorded, recbole.DIENDataset):
    """Dataset of DIEN."""


DATASETS = {part.__name__: part for part in (
    Dataset, SequentialDataset, KnowledgeBasedDataset, GRU4RecKGDataset, KSRDataset, DIENDataset
)}  # fmt: skip


def load_recbole_data(config):
    """Filters and splits a dataset by `eval_args` as stock RecBole does.

    Args:
        config (Config): ours.

    Returns:
        Data: `train_data`, `valid` and `test` are RecBole's loaders.

    Raises:
        ValueError: RecBole refuses an option, or a key of this package would change RecBole's data or split.
    """
    if config["tie_order"] != "file":
        raise ValueError(f"tie_order={config['tie_order']}: protocol=recbole keeps RecBole's order: leave the key out")
    if requested_cold_items(config):
        raise ValueError(f"split={config['split']}: protocol=recbole keeps RecBole's split: leave the key out")
    check_prepared(config)
    try:
        dataset = class_for(config, DATASETS)(config)
        getLogger().info(dataset)
        parts = dataset.build()
    except (NotImplementedError, AssertionError) as error:  # how RecBole refuses an option
        raise ValueError(f"RecBole refuses eval_args {config['eval_args']}: {error}") from error
    samplers = create_samplers(config, dataset, parts)
    train_data = recbole_loader(config, dataset, parts[0], samplers[0])
    fit_schedule(config, len(train_data))
    valid, test = (
        get_dataloader(config, split)(config, part, sampler, shuffle=False)
        for split, part, sampler in zip(("valid", "test"), parts[1:], samplers[1:])
    )
    users, items = (dataset.field2id_token[field] for field in (dataset.uid_field, dataset.iid_field))
    fingerprint = dataset.sequences.fingerprint(users, items)
    getLogger().info(f"dataset_fingerprint {fingerprint}")
    return Data(parts[0], train_data, valid, test, fingerprint)
