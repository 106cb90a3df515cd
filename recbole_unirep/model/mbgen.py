"""MBGen: the next behaviour and its item, predicted as one sequence of tokens.

Reference:
    Zihan Liu et al. "Multi-Behavior Generative Recommendation" (MBGen), CIKM 2024, arXiv:2405.16871.

Each interaction is written as the token of its behaviour, then the ID of its item. Predicting the next tokens thus
predicts the next behaviour and its item. An item's score is the probability that it comes next under any behaviour, or
under `target_behaviour` if it is set. The paper's mixture of experts by position is left out; its tokenizer is
`tokenizer=MBGen`.

The IDs here are of an item under a behaviour: row b * N + i is item i under behaviour b.

Shapes: B users, L interactions of a history, P targets, N items, C candidates, V levels, the behaviour's included.
"""

import torch

from recbole_unirep.data.behaviours import BEHAVIOUR
from recbole_unirep.model.autoregressive import AutoregressiveRecommender
from recbole_unirep.model.generative import exact_where_found
from recbole_unirep.modules.written_ids import WrittenIDs


class MBGen(AutoregressiveRecommender):
    """TIGER's network over interactions with behaviours.

    Args:
        config (Config): ours; keys of properties/model/MBGen.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part, made by `create_dataset`.

    Raises:
        ValueError: no column holds behaviours, or an option is out of its range.
    """

    base_settings = ("TIGER",)

    def __init__(self, config, dataset):
        if not config["behaviour_field"]:
            raise ValueError(
                "behaviour_field is not given: name the column of the .inter file that says what each interaction was, "
                "with behaviour_cuts where it holds numbers (ml-100k: --behaviour_field=rating --behaviour_cuts=[4])"
            )
        if BEHAVIOUR not in dataset.field2id_token:
            raise ValueError(
                f"behaviour_field={config['behaviour_field']} is not read by stock RecBole's dataset: use run_recbole "
                f"of recbole_unirep"
            )
        self.behaviours = [str(name) for name in dataset.field2id_token[BEHAVIOUR][1:]]
        target = config["target_behaviour"]
        if target is not None and str(target) not in self.behaviours:
            raise ValueError(f"target_behaviour={target} is not known: choose one of {', '.join(self.behaviours)}")
        self.target = None if target is None else self.behaviours.index(str(target))
        super().__init__(config, dataset)
        self.usual = int(torch.bincount(dataset.inter_feat[BEHAVIOUR]).argmax()) - 1
        self.BEHAVIOUR_SEQ = BEHAVIOUR + config["LIST_SUFFIX"]

    def written_ids(self, config, dataset, frozen):
        """IDs of all items under all behaviours; only IDs of the target behaviour are ranked if there is one."""
        codes, n_behaviours = frozen.codes[1:], len(self.behaviours)
        behaviour = torch.arange(n_behaviours).repeat_interleave(len(codes))[:, None]
        rows = torch.cat([behaviour, codes.repeat(n_behaviours, 1)], dim=1)  # [n_behaviours * N, V]
        padded = torch.cat([rows.new_full((1, rows.shape[1]), -1), rows])
        sizes = [n_behaviours, *frozen.codebook_sizes]
        if self.target is None:
            return WrittenIDs(padded, sizes)
        first = 1 + self.target * len(codes)
        return WrittenIDs(padded, sizes, slice(first, first + len(codes)))

    @property
    def open_codes(self):
        """Codes of the items, without the level of the behaviour; see the base class."""
        return super().open_codes[: self.n_items - 1, 1:]

    @property
    def code_vectors(self):
        return super().code_vectors[1:]

    @property
    def open_sizes(self):
        return super().open_sizes[1:]

    def row_losses(self, batch):
        inputs = self._rows_of(batch.inputs, batch.behaviours)
        targets = self._rows_of(batch.targets, batch.target_behaviours)
        return super().row_losses(batch._replace(inputs=inputs, targets=targets))

    def calculate_loss(self, interaction):
        items = self._rows_of(interaction[self.ITEM_SEQ], interaction[self.BEHAVIOUR_SEQ])
        targets = self._rows_of(interaction[self.POS_ITEM_ID], interaction[BEHAVIOUR])
        is_target = torch.arange(items.shape[1], device=items.device) == interaction[self.ITEM_SEQ_LEN][:, None] - 1
        return sum(self.losses(interaction[self.USER_ID], items, is_target, targets))

    def memory_of(self, interaction):
        """See the base class; a history without behaviours gets the target behaviour, or else the most frequent one."""
        items = interaction[self.ITEM_SEQ][:, : int(interaction[self.ITEM_SEQ_LEN].max())]
        if self.BEHAVIOUR_SEQ in interaction:
            behaviours = interaction[self.BEHAVIOUR_SEQ][:, : items.shape[1]]
        else:
            behaviours = torch.full_like(items, 1 + (self.usual if self.target is None else self.target))
        return self.remember(interaction[self.USER_ID], self._rows_of(items, behaviours))

    def catalogue_scores(self, memory):
        scores = super().catalogue_scores(memory)
        if self.target is not None:
            return scores
        of_items = scores[:, 1:].unflatten(1, (len(self.behaviours), -1)).logsumexp(dim=1)
        found = torch.cat([scores[:, :1], of_items], dim=1)
        if self.exact_ranking:
            return found
        return exact_where_found(found, lambda items: self.candidate_scores(memory, items))

    def candidate_scores(self, memory, items):
        behaviours = range(len(self.behaviours)) if self.target is None else [self.target]
        rows = torch.cat([items + behaviour * (self.n_items - 1) for behaviour in behaviours], dim=1)
        return super().candidate_scores(memory, rows).unflatten(1, (len(behaviours), -1)).logsumexp(dim=1)

    def _rows_of(self, items, behaviours):
        """Rows of items [...] under behaviours [...], which are numbered from 1; 0 where an item pads."""
        return items + (items > 0) * (behaviours - 1).clamp(min=0) * (self.n_items - 1)
