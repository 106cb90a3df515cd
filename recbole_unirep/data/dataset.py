"""recbole_unirep.data.dataset: RecBole's datasets, with exact time order and a fast augmentation.

RecBole 1.2.1 converts timestamps to float32 before sorting, which scrambles times in seconds (RecBole issues 1653,
2204), and augments in a Python loop over all prefixes (issues 1298, 1537). Here rows are sorted by exact times, and
array operations write the same augmented rows.
"""

from logging import getLogger

import numpy as np
import pandas
import torch
from recbole.data import dataset as recbole
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType, ModelType

from dataset_prep.text import quoted_parts
from recbole_unirep.data.behaviours import BEHAVIOUR, add_behaviours, behaviours_of
from recbole_unirep.data.cold_items import kept_interactions, requested_cold_items
from recbole_unirep.data.reading import check_prepared, fast_reader
from recbole_unirep.data.sequences import UserSequences, grouped_order
from recbole_unirep.data.tie_order import n_tied, shuffling_keys, time_order

CHUNK_ROWS = 65_536  # rows per chunk of histories, to bound the memory
TARGET_PLACE = "target_place"  # a temporary column: the row's number in the interactions before the split


class TimeOrdered:
    """Mixin of a RecBole Dataset: exact time order, one catalogue and one split for all models, quoted lists."""

    place_in_whole = None  # place of each interaction in `whole_sequences`, if interactions with cold items are dropped

    def _load_feat(self, filepath, source):
        """Reads an atomic file as RecBole does, but reads `'Skin Care', "Women's"` as two tokens instead of four."""
        with fast_reader(self.time_field):
            feat = super()._load_feat(filepath, source)
        misplaced = {FeatureSource.ITEM: self.uid_field, FeatureSource.USER: self.iid_field}.get(source)
        if feat is not None and misplaced in feat:
            raise ValueError(f"{filepath} has a column {misplaced}, which belongs into the .inter file: remove it")
        for field in feat.columns if feat is not None else ():
            if self.field2type[field] == FeatureType.TOKEN_SEQ and any(_is_quoted(cell) for cell in feat[field]):
                feat[field] = [_quoted_list(cell, self.config["seq_separator"]) for cell in feat[field]]
                self.field2seqlen[field] = max(map(len, feat[field]))
        return feat

    def _load_inter_feat(self, token, dataset_path):
        """Reads the interactions; without a column of times, the file's order counts as time order."""
        super()._load_inter_feat(token, dataset_path)
        if self.time_field not in self.inter_feat:
            getLogger().warning(
                f"{token}.inter: no column '{self.time_field}' is loaded (TIME_FIELD, load_col): the order of its rows "
                f"is taken as the order of time"
            )
            self.inter_feat[self.time_field] = np.arange(len(self.inter_feat), dtype=np.float64)
            self.set_field_property(self.time_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)

    def _remap(self, remap_list):
        """Assigns ids as RecBole does, except that cold items get the largest ids."""
        super()._remap(remap_list)
        cold_items = requested_cold_items(self.config)
        if cold_items is None or self.iid_field not in [field for _, field, _ in remap_list]:
            return
        tokens = self.field2id_token[self.iid_field]
        is_cold = cold_items.among(tokens)
        order = np.argsort(is_cold, kind="stable")
        number = np.argsort(order)
        self.n_training_items = len(tokens) - int(is_cold.sum())
        for feat, field, kind in remap_list:
            feat[field] = number[feat[field]] if kind == FeatureType.TOKEN else [number[ids] for ids in feat[field]]
            self.field2id_token[field] = tokens[order]
            self.field2token_id[field] = {token: place for place, token in enumerate(tokens[order])}

    def _filter_by_inter_num(self):
        """Filters as RecBole does, by array operations; then drops the features of removed users and items."""
        fields, is_kept = (self.uid_field, self.iid_field), np.ones(len(self.inter_feat), dtype=bool)
        numbers = [pandas.factorize(self.inter_feat[field])[0] for field in fields]
        intervals = [self._parse_intervals_str(self.config[f"{side}_inter_num_interval"]) for side in ("user", "item")]
        n_before = None
        while n_before != is_kept.sum():
            n_before = is_kept.sum()
            is_kept &= np.logical_and(*(self._is_within(n, is_kept, ends) for n, ends in zip(numbers, intervals)))
        self.inter_feat.drop(self.inter_feat.index[~is_kept], inplace=True)
        if self.inter_feat.empty:
            raise ValueError(
                f"no interaction of {self.config['dataset']} is left after filtering "
                f"(user_inter_num_interval {self.config['user_inter_num_interval']}, "
                f"item_inter_num_interval {self.config['item_inter_num_interval']}): loosen the filters"
            )
        for feat, field in ((self.user_feat, self.uid_field), (self.item_feat, self.iid_field)):
            if feat is not None:
                feat.drop(feat.index[~feat[field].isin(self.inter_feat[field])], inplace=True)

    def _is_within(self, numbers, is_kept, intervals):
        """True for rows whose user (or item) has a number of kept rows within the intervals, shape: [n], bool."""
        if intervals is None:
            return is_kept
        counts = np.bincount(numbers[is_kept], minlength=numbers.max(initial=-1) + 1)
        return self._within_intervals(counts, intervals)[numbers]

    def leave_one_out(self, group_by, leave_one_mode):
        """Splits as RecBole does, users in order of their first row, without a loop over rows.

        All models use RecBole's rule for sequential models, where a user's first item is not a row. RecBole's rule for
        general models would hold out more interactions of users with two or three of them.
        """
        if leave_one_mode != "valid_and_test" or group_by is None:
            return super().leave_one_out(group_by, leave_one_mode)
        groups = self.inter_feat[group_by].numpy()
        first_row = np.full(groups.max(initial=-1) + 1, len(groups))
        first_row[groups[::-1]] = np.arange(len(groups))[::-1]
        by_first_row = np.argsort(first_row)[: np.count_nonzero(first_row < len(groups))]
        number = np.empty_like(first_row)
        number[by_first_row] = np.arange(len(by_first_row))  # by first appearance
        group = number[groups]
        order = grouped_order(group, len(by_first_row))
        size = np.bincount(group)
        from_end = np.repeat(np.cumsum(size), size) - 1 - np.arange(len(order))
        n_kept = 1 if self.config["MODEL_TYPE"] == ModelType.SEQUENTIAL else 2
        n_held_out = np.repeat(np.clip(size - n_kept, 0, 2), size)
        self._drop_unused_col()
        parts = (from_end >= n_held_out, (from_end == 1) & (n_held_out == 2), (from_end == 0) & (n_held_out >= 1))
        return [self.copy(_rows(self.inter_feat, order[part])) for part in parts]

    def _discretization(self):
        """Checks that `numerical_features` are columns of numbers, then calls RecBole's method."""
        numbers = sorted(
            field for field, kind in self.field2type.items() if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
        )
        for field in self.config["numerical_features"] or ():
            if field == self.time_field:
                raise ValueError(
                    f"numerical_features names {field}, which orders the interactions, and RecBole would turn it into "
                    f"pairs: leave it out, or copy it to a column of another name"
                )
            if field not in numbers:
                kind = self.field2type.get(field)
                found = f"a column of type {kind.value}" if kind else "which is not loaded"
                raise ValueError(
                    f"numerical_features names {field}, {found}; columns of numbers: {', '.join(numbers) or 'none'}: "
                    f"name one of these, load it (load_col), or write {field}:float into the header"
                )
        super()._discretization()

    def _fill_nan(self):
        """Adds behaviours, then calls RecBole's method.

        RecBole replaces missing numbers by means here and scales all numbers later, so behaviours must be read before.
        """
        add_behaviours(self)
        super()._fill_nan()

    def _change_feat_format(self):
        fields = (self.uid_field, self.iid_field, self.time_field)
        users, items, times = (self.inter_feat[field].to_numpy() for field in fields)
        user_tokens, item_tokens = (self.field2id_token[field] for field in fields[:2])
        tie_order, seed = self.config["tie_order"], self.config["tie_seed"]
        order = time_order(times, tie_order, lambda: shuffling_keys(users, items, user_tokens, item_tokens, seed))
        self.inter_feat = self.inter_feat.iloc[order].reset_index(drop=True)
        users, items, times = users[order], items[order], times[order]
        self.sequences = self.whole_sequences = UserSequences.from_arrays(
            users, items, self.user_num, behaviours_of(self.inter_feat)
        )
        if requested_cold_items(self.config):
            users, items, times = self._without_cold(users, items, times)
        getLogger().info(
            f"tie_order {tie_order}{f' (seed {seed})' if tie_order == 'shuffled' else ''}: "
            f"{n_tied(users, times, self.user_num):,} of {len(users):,} interactions have the same time as another one "
            f"of their user"
        )
        if self.time_field in self.inter_feat:  # rows are sorted by now; RecBole makes tensors of floats
            self.inter_feat[self.time_field] = self.inter_feat[self.time_field].astype(np.float64)
        super()._change_feat_format()

    def _without_cold(self, users, items, times):
        """Drops interactions with cold items, except test targets."""
        is_kept = kept_interactions(users, items, self.n_training_items)
        self.inter_feat = self.inter_feat[is_kept].reset_index(drop=True)
        self.place_in_whole = np.flatnonzero(is_kept[grouped_order(users, self.user_num)])
        users, items, times = users[is_kept], items[is_kept], times[is_kept]
        self.sequences = UserSequences.from_arrays(users, items, self.user_num, behaviours_of(self.inter_feat))
        getLogger().info(
            f"split cold_items (share {self.config['cold_item_share']}, seed {self.config['cold_item_seed']}): "
            f"{self.item_num - self.n_training_items:,} of {self.item_num - 1:,} items are cold, "
            f"{np.count_nonzero(~is_kept):,} of their interactions are dropped, "
            f"{np.count_nonzero(items >= self.n_training_items):,} are test targets"
        )
        return users, items, times


class FastAugmentation:
    """Mixin of RecBole's SequentialDataset, rows sorted by time: writes its augmented rows by array operations."""

    augments_training = True

    def build_for_rows(self):
        """Splits as RecBole does, but only held-out targets get a list of the items before them.

        Training on user sequences does not read these lists.

        Returns:
            list: parts as of `build`; the training part has no lists, the others have lists of items and behaviours.
        """
        self.augments_training = False
        parts = self.build()
        single = self.__dict__.pop("_interactions")
        for place, part in enumerate(parts):
            target = part.inter_feat[TARGET_PLACE].numpy()
            part.inter_feat.drop(TARGET_PLACE)
            part.__dict__.pop("_interactions", None)
            if place > 0:
                listed = [field for field in (self.iid_field, BEHAVIOUR) if field in single]
                part.inter_feat.update(self._histories(single, target, listed))
        return parts

    def data_augmentation(self):
        """Makes one row per target: `u1, <i1, i2> | i3`, with the last MAX_ITEM_LIST_LENGTH items before it."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        single = _rows(self.inter_feat, grouped_order(self.inter_feat[self.uid_field].numpy(), self.user_num))
        target = np.flatnonzero(np.diff(single[self.uid_field].numpy(), prepend=-1) == 0)  # all but a user's first
        self.inter_feat = _rows(single, target)
        if self.augments_training:
            fields = [field for field in single if field != self.uid_field]
            self.inter_feat.update(self._histories(single, target, fields))
        else:
            self._interactions = single
            self.inter_feat.update(Interaction({TARGET_PLACE: torch.from_numpy(target)}))

    def _histories(self, single, target, fields):
        """Lists the values before each target, and the lengths of the lists.

        Args:
            single (Interaction): one row per interaction, grouped by user, in order of time.
            target (np.ndarray): places of the targets, shape: [n].
            fields (list of str): fields to list.
        """
        length = self.max_item_list_len
        user_start = self.sequences.offsets[single[self.uid_field].numpy()[target]]
        start = np.maximum(user_start, target - length)
        lists = {self.item_list_length_field: torch.from_numpy(target - start)}
        for field in fields:
            value = single[field]
            listed = value.new_zeros(len(target), length, *value.shape[1:])  # [n, L] or [n, L, list length]
            for first in range(0, len(target), CHUNK_ROWS):
                part = slice(first, first + CHUNK_ROWS)
                place = torch.from_numpy(start[part])[:, None] + torch.arange(length)
                is_history = place < torch.from_numpy(target[part])[:, None]
                listed[part][is_history] = value[place[is_history]]
            lists[getattr(self, f"{field}_list_field")] = listed
        return Interaction(lists)


def create_dataset(config):
    """Builds RecBole's dataset for a model, with exact time order.

    Args:
        config (Config): RecBole's or ours.

    Returns:
        recbole.data.dataset.Dataset: filtered, with ids, not yet split; `build` splits it and sets `sequences`,
        each user's items in order.

    Raises:
        ValueError: no interaction is left after filtering, or a file differs from the dataset's manifest.
    """
    check_prepared(config)
    dataset = class_for(config, DATASETS)(config)
    getLogger().info(dataset)
    return dataset


class Dataset(TimeOrdered, recbole.Dataset):
    """Dataset of general and context-aware models."""


class SequentialDataset(FastAugmentation, TimeOrdered, recbole.SequentialDataset):
    """Dataset of sequential models."""


class KnowledgeBasedDataset(TimeOrdered, recbole.KnowledgeBasedDataset):
    """Dataset of models over a knowledge graph."""


class GRU4RecKGDataset(TimeOrdered, recbole.GRU4RecKGDataset):
    """Dataset of GRU4RecKG."""


class KSRDataset(TimeOrdered, recbole.KSRDataset):
    """Dataset of KSR."""


class DIENDataset(TimeOrdered, recbole.DIENDataset):
    """Dataset of DIEN."""


DATASETS = {part.__name__: part for part in (
    Dataset, SequentialDataset, KnowledgeBasedDataset, GRU4RecKGDataset, KSRDataset, DIENDataset
)}  # fmt: skip
OF_TYPES = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE: "KnowledgeBasedDataset"}


def class_for(config, classes):
    """Returns the dataset class for a model by RecBole's rule: the class named after the model, else that of its type.

    Args:
        config (Config): RecBole's or ours.
        classes (dict[str, type]): dataset classes by RecBole's names.
    """
    return classes.get(f"{config['model']}Dataset") or classes[OF_TYPES.get(config["MODEL_TYPE"], "Dataset")]


def _rows(interactions, places):
    """Selects rows of an Interaction; RecBole's indexing is slow, because it makes a list of all row numbers."""
    places = torch.from_numpy(places)
    return Interaction({field: interactions[field][places] for field in interactions})


def _is_quoted(cell):
    return len(cell) > 0 and cell[0][:1] in "'\""


def _quoted_list(cell, separator):
    """Parses a quoted list that RecBole split at blanks; returns its tokens, dtype: str."""
    parts = quoted_parts(separator.join(cell)) if _is_quoted(cell) else None
    return cell if parts is None else np.array(parts, dtype=str)
