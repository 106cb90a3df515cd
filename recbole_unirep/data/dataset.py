"""recbole_unirep.data.dataset: RecBole's datasets, with exact time order and a fast augmentation.

RecBole 1.2.1 converts timestamps to float32 before it sorts by them, which scrambles second-resolution times
(RecBole issues 1653, 2204), and augments in a Python loop over all prefixes (issues 1298, 1537). Here the rows are
sorted by exact times first, and the augmentation writes the same rows with array operations.
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
from recbole_unirep.data.cold_items import cold_items_asked, is_left
from recbole_unirep.data.reading import check_prepared, fast_reader
from recbole_unirep.data.sequences import UserSequences, grouped_order
from recbole_unirep.data.tie_order import n_tied, shuffling_keys, time_order

CHUNK_ROWS = 65_536  # rows whose places are held at once
TARGET_PLACE = "target_place"  # a column that says which interaction a row was, while RecBole splits the rows


class TimeOrdered:
    """Mixin of a RecBole Dataset: exact time order, one catalogue, one split for all models, quoted lists as lists."""

    place_in_whole = None  # of each interaction in `whole_sequences`, where interactions with cold items are left out

    def _load_feat(self, filepath, source):
        """Reads an atomic file as RecBole does, then reads `'Skin Care', "Women's"` as two tokens, not as four."""
        with fast_reader(self.time_field):
            feat = super()._load_feat(filepath, source)
        stranger = {FeatureSource.ITEM: self.uid_field, FeatureSource.USER: self.iid_field}.get(source)
        if feat is not None and stranger in feat:
            raise ValueError(f"{filepath} has a column {stranger}, which only interactions have: remove it")
        for field in feat.columns if feat is not None else ():
            if self.field2type[field] == FeatureType.TOKEN_SEQ and any(_is_quoted(cell) for cell in feat[field]):
                feat[field] = [_quoted_list(cell, self.config["seq_separator"]) for cell in feat[field]]
                self.field2seqlen[field] = max(map(len, feat[field]))
        return feat

    def _load_inter_feat(self, token, dataset_path):
        """Reads the interactions; where they have no times, their rows stand in order of time."""
        super()._load_inter_feat(token, dataset_path)
        if self.time_field not in self.inter_feat:
            getLogger().warning(
                f"{token}.inter: no column '{self.time_field}' is loaded (TIME_FIELD, load_col), so its rows are taken "
                f"to stand in order of time"
            )
            self.inter_feat[self.time_field] = np.arange(len(self.inter_feat), dtype=np.float64)
            self.set_field_property(self.time_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)

    def _remap(self, remap_list):
        """RecBole's numbering; the ids of cold items come last."""
        super()._remap(remap_list)
        cold_items = cold_items_asked(self.config)
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
        """RecBole's filter by counting arrays; then drops features of users and items that are gone."""
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
        """Whether each row's user (or item) has as many kept rows as the intervals allow, shape: [n], bool."""
        if intervals is None:
            return is_kept
        counts = np.bincount(numbers[is_kept], minlength=numbers.max(initial=-1) + 1)
        return self._within_intervals(counts, intervals)[numbers]

    def leave_one_out(self, group_by, leave_one_mode):
        """RecBole's split, users in order of their first row, without a loop over rows.

        RecBole's rule for sequential models, where a user's first item is no row, serves all models: otherwise a user
        with two or three interactions would be held out for general models alone.
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
        """RecBole's, once the numerical features are columns of numbers."""
        numbers = sorted(
            field for field, kind in self.field2type.items() if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
        )
        for field in self.config["numerical_features"] or ():
            if field == self.time_field:
                raise ValueError(
                    f"numerical_features names {field}, by which interactions are ordered, and RecBole would make "
                    f"pairs of it: leave it out, or copy it to a column of another name"
                )
            if field not in numbers:
                kind = self.field2type.get(field)
                found = f"a column of type {kind.value}" if kind else "no column that is read"
                raise ValueError(
                    f"numerical_features names {field}, {found}: known are {', '.join(numbers) or 'none'}; name one of "
                    f"these, load it (load_col), or write {field}:float in the file's header"
                )
        super()._discretization()

    def _fill_nan(self):
        """RecBole's, once the behaviours are read: after it missing numbers are means, and soon all are scaled."""
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
        if cold_items_asked(self.config):
            users, items, times = self._without_cold(users, items, times)
        getLogger().info(
            f"tie_order {tie_order}{f' (seed {seed})' if tie_order == 'shuffled' else ''}: "
            f"{n_tied(users, times, self.user_num):,} of {len(users):,} interactions share their time with another one "
            f"of the same user"
        )
        if self.time_field in self.inter_feat:  # their order is settled; RecBole's tensors are made of floats
            self.inter_feat[self.time_field] = self.inter_feat[self.time_field].astype(np.float64)
        super()._change_feat_format()

    def _without_cold(self, users, items, times):
        """Drops the interactions with cold items that are no test targets."""
        is_kept = is_left(users, items, self.n_training_items)
        self.inter_feat = self.inter_feat[is_kept].reset_index(drop=True)
        self.place_in_whole = np.flatnonzero(is_kept[grouped_order(users, self.user_num)])
        users, items, times = users[is_kept], items[is_kept], times[is_kept]
        self.sequences = UserSequences.from_arrays(users, items, self.user_num, behaviours_of(self.inter_feat))
        getLogger().info(
            f"split cold_items (share {self.config['cold_item_share']}, seed {self.config['cold_item_seed']}): "
            f"{self.item_num - self.n_training_items:,} of {self.item_num - 1:,} items take no part in training, "
            f"{np.count_nonzero(~is_kept):,} interactions with them are left out, "
            f"{np.count_nonzero(items >= self.n_training_items):,} are test targets"
        )
        return users, items, times


class FastAugmentation:
    """Mixin of RecBole's SequentialDataset whose rows stand in order of time: its augmented rows, without a loop."""

    augments_training = True

    def build_for_rows(self):
        """RecBole's split for training in rows of users, which reads the items before held-out targets alone.

        Returns:
            list: as `build`; the training part has no lists, the others those of items.
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
        """Makes one row a target: `u1, <i1, i2> | i3`, the history cut to its last MAX_ITEM_LIST_LENGTH items."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        single = _rows(self.inter_feat, grouped_order(self.inter_feat[self.uid_field].numpy(), self.user_num))
        target = np.flatnonzero(np.diff(single[self.uid_field].numpy(), prepend=-1) == 0)  # of a user not the first
        self.inter_feat = _rows(single, target)
        if self.augments_training:
            fields = [field for field in single if field != self.uid_field]
            self.inter_feat.update(self._histories(single, target, fields))
        else:
            self._interactions = single
            self.inter_feat.update(Interaction({TARGET_PLACE: torch.from_numpy(target)}))

    def _histories(self, single, target, fields):
        """Lists of what stands before targets, and their lengths.

        Args:
            single (Interaction): one row an interaction, users one after the other in order of time.
            target (np.ndarray): places of the targets, shape: [n].
            fields (list of str): what is listed.
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
    """RecBole's dataset for this model, with exact time order.

    Args:
        config (Config): RecBole's or ours.

    Returns:
        recbole.data.dataset.Dataset: filtered and numbered, not yet split; `build` splits it and sets `sequences`,
        each user's items.

    Raises:
        ValueError: no interaction is left after filtering, or the files are not those that were prepared.
    """
    check_prepared(config)
    dataset = class_for(config, DATASETS)(config)
    getLogger().info(dataset)
    return dataset


class Dataset(TimeOrdered, recbole.Dataset):
    """Of general and context-aware models."""


class SequentialDataset(FastAugmentation, TimeOrdered, recbole.SequentialDataset):
    """Of sequential models."""


class KnowledgeBasedDataset(TimeOrdered, recbole.KnowledgeBasedDataset):
    """Of models over a knowledge graph."""


class GRU4RecKGDataset(TimeOrdered, recbole.GRU4RecKGDataset):
    """Of GRU4RecKG."""


class KSRDataset(TimeOrdered, recbole.KSRDataset):
    """Of KSR."""


class DIENDataset(TimeOrdered, recbole.DIENDataset):
    """Of DIEN."""


DATASETS = {part.__name__: part for part in (
    Dataset, SequentialDataset, KnowledgeBasedDataset, GRU4RecKGDataset, KSRDataset, DIENDataset
)}  # fmt: skip
OF_TYPES = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE: "KnowledgeBasedDataset"}


def class_for(config, classes):
    """The dataset class for a model, by RecBole's rule: its own, or that of its type.

    Args:
        config (Config): RecBole's or ours.
        classes (dict[str, type]): by the names of RecBole's.
    """
    return classes.get(f"{config['model']}Dataset") or classes[OF_TYPES.get(config["MODEL_TYPE"], "Dataset")]


def _rows(interactions, places):
    """Rows of an Interaction, whose own indexing makes a list of every number."""
    places = torch.from_numpy(places)
    return Interaction({field: interactions[field][places] for field in interactions})


def _is_quoted(cell):
    return len(cell) > 0 and cell[0][:1] in "'\""


def _quoted_list(cell, separator):
    """Tokens of a quoted list that RecBole has split at blanks, dtype: str."""
    parts = quoted_parts(separator.join(cell)) if _is_quoted(cell) else None
    return cell if parts is None else np.array(parts, dtype=str)
