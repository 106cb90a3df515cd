"""recbole_unirep.scoring.model_contract: what the engine may ask of a recommender, and nothing else.

A capability is a Protocol. A model has it when it has its members: `isinstance(model, Generative)`. RecBole's own
models have none of them, so the functions below also know which of them are causal, and how to get the state at every
position where RecBole's `forward` returns the last one only. One training row then trains all targets of a user.

The engine asks here and nowhere else. It never sets an attribute of a model and never replaces a method.

Shapes: B users, L sequence length, H hidden_size, C candidates, N items.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Protocol, runtime_checkable

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn


@runtime_checkable
class Causal(Protocol):
    """A model whose state at a position depends on the items up to it; it has an `item_embedding` too."""

    @property
    def sequence_states(self) -> Optional[Callable[[Tensor], Tensor]]:
        """Function from item ids [B, L] to states [B, L, H]; None where the model's backbone is not causal."""


@runtime_checkable
class RowTrained(Protocol):
    """A model with its own losses on our training rows."""

    def row_losses(self, batch) -> tuple:
        """Weighted parts of the loss of a RowBatch, in the order of `loss_names`, shape: [] each."""


@runtime_checkable
class NamedLosses(Protocol):
    """A model that names the parts of its loss."""

    @property
    def loss_names(self) -> Sequence[str]:
        """Names of the parts, for the log."""


@runtime_checkable
class WeightedLosses(Protocol):
    """A model that weights the parts of its loss."""

    @property
    def loss_weights(self) -> Sequence[float]:
        """What each part has been multiplied by."""


@runtime_checkable
class Generative(Protocol):
    """A model that writes semantic IDs: it finds some items and scores any candidate exactly."""

    num_beams: int
    exact_ranking: bool

    def memory_of(self, interaction) -> Any:
        """What the model knows of the users of a batch once it has read their histories."""

    def catalogue_scores(self, memory) -> Tensor:
        """Log-likelihood per item, -inf where none was found, shape: [B, N]."""

    def candidate_scores(self, memory, items: Tensor) -> Tensor:
        """Log-likelihood of each user's candidates [B, C], shape: [B, C]."""


@runtime_checkable
class AddsToScores(Protocol):
    """A model that adds to the product of state and item."""

    @property
    def ranking_bias(self) -> Optional[nn.Module]:
        """A `model.score_bias.ScoreBias`, None where nothing is added."""


@runtime_checkable
class HasCodes(Protocol):
    """A model with semantic IDs."""

    def codebook_report(self) -> Mapping[str, float]:
        """Usage, perplexity, coverage and collisions over all items; empty where the items have no codes."""


@runtime_checkable
class SizesItsTable(Protocol):
    """A model that counts the learned numbers addressed by item or by code."""

    @property
    def item_table_parameters(self) -> int:
        """Padding and special tokens not counted (the paper's Table 5)."""


@runtime_checkable
class MovesCodebooks(Protocol):
    """A model whose codebooks may move by an exponential moving average."""

    @property
    def n_ema_parameters(self) -> int:
        """Learned numbers that no gradient moves."""


@runtime_checkable
class ReadsText(Protocol):
    """A model over item text."""

    text_encoder: Optional[str]


@runtime_checkable
class HasIDTable(Protocol):
    """A model whose learned rows per item are not its `item_embedding`."""

    @property
    def id_table(self) -> Optional[nn.Module]:
        """The table with a learned row per item, None where there is none."""


@runtime_checkable
class BuiltOnTokenizers(Protocol):
    """A model built over tokenizers that were fitted before, which its run keeps as bundles."""

    def take_fitted(self) -> Mapping[str, Any]:
        """FittedCodes by the folder's name; the model forgets them."""


@runtime_checkable
class StartsFromRun(Protocol):
    """A model that starts with the weights of another run."""

    def begin(self) -> None:
        """Reads them."""


@runtime_checkable
class Clusters(Protocol):
    """RecBole's NCL, which clusters anew every few epochs."""

    def e_step(self) -> None:
        """Clusters users and items."""


@runtime_checkable
class TakesNewItems(Protocol):
    """A model that ranks items that were added after training."""

    def add_items(self, new, sizes: Sequence[int]) -> None:
        """Appends `model.new_items.NewItems`; `sizes` says how many came together."""


@runtime_checkable
class OverBackbone(Protocol):
    """A model whose item table is a part of another module in it."""

    def with_item_table(self, table: nn.Module) -> nn.Module:
        """A copy that looks items up in `table` and shares everything else."""


class _AllPositions:
    """A model whose `gather_indexes` returns all positions; everything else is the model's."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def gather_indexes(self, states, _):
        return states


def sasrec_states(model, item_seq):
    """States of RecBole's SASRec.

    Args:
        model (recbole SASRec): the model.
        item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L].

    Returns:
        Tensor: shape: [B, L, H].
    """
    position = torch.arange(item_seq.size(1), device=item_seq.device)
    hidden = read_items(model, item_seq) + model.position_embedding(position)
    hidden = model.dropout(model.LayerNorm(hidden))
    mask = model.get_attention_mask(item_seq)
    return model.trm_encoder(hidden, mask, output_all_encoded_layers=False)[-1]


def gru4rec_states(model, item_seq):
    """States of RecBole's GRU4Rec, shapes as in `sasrec_states`."""
    hidden, _ = model.gru_layers(model.emb_dropout(read_items(model, item_seq)))
    return model.dense(hidden)


def forward_states(model, item_seq):
    """States by RecBole's own forward, which picks the last position by `gather_indexes`; shapes as in `sasrec_states`.

    For models whose other steps treat every position alike and see none after it.
    """
    return type(model).forward(_AllPositions(model), item_seq, item_seq_len=item_seq.new_ones(len(item_seq)))


def s3rec_states(model, item_seq):
    """States of RecBole's S3Rec as it is fine-tuned, shapes as in `sasrec_states`."""
    return model(item_seq, bidirectional=False)


def read_items(model, item_seq):
    """Item embeddings, plus the model's `local_convolution` of them where it has one, shape: [B, L, H]."""
    items, convolution = model.item_embedding(item_seq), getattr(model, "local_convolution", None)
    return items if convolution is None else items + convolution(items)


CLOZE = ("BERT4Rec",)
CAUSAL = {
    "SASRec": sasrec_states,
    "GRU4Rec": gru4rec_states,
    "SASRecF": forward_states,
    "FDSA": forward_states,
    "GRU4RecF": forward_states,
    "S3Rec": s3rec_states,
}


def is_causal(model_class):
    """Whether models of a class give states at every position: it has `sequence_states`, or RecBole's are known here.

    Where `sequence_states` is a property (UniRep), the settings decide.
    """
    return callable(getattr(model_class, "sequence_states", None)) or model_class.__name__ in CAUSAL


def declared_item_size_key(model_class):
    """The config key that sizes the item table of a backbone, as its class declares it; None where it declares none."""
    return getattr(model_class, "item_size_key", None)


def sequence_states(model):
    """The model's function from item ids [B, L] to states [B, L, H], None where it is not causal."""
    own = model.sequence_states if isinstance(model, Causal) else None
    if own is not None:
        return own
    states = CAUSAL.get(type(model).__name__)
    return None if states is None else lambda item_seq: states(model, item_seq)


def scores_by_table(model):
    """Whether a score is the last state times a row of the model's item table, and perhaps `ranking_bias`."""
    return not isinstance(model, Generative) and sequence_states(model) is not None


def ranking_bias(model):
    """What the model adds to the product of state and item (ScoreBias), None where nothing."""
    return model.ranking_bias if isinstance(model, AddsToScores) else None


def id_table(model):
    """The table with a learned row per item of a causal model, None where there is none."""
    if sequence_states(model) is None:
        return None
    return model.id_table if isinstance(model, HasIDTable) else model.item_embedding


def with_item_table(model, table):
    """A copy of a causal model that looks items up in another table and shares everything else.

    Args:
        model (recbole SequentialRecommender): left as it is.
        table (nn.Module): item ids [...] to vectors [..., H].
    """
    return model.with_item_table(table) if isinstance(model, OverBackbone) else replaced(model, item_embedding=table)


def replaced(module, **parts):
    """A copy of a module with other submodules, which shares the rest; the given one stays as it is."""
    copied = copy.copy(module)
    copied.__dict__["_modules"] = {**module._modules, **parts}
    return copied


def trimmed(interactions, model):
    """RecBole's rows without the columns that pad all of them, for models that read no padding; others as they are.

    Args:
        interactions (recbole Interaction): with the model's sequences of items, 0 pads on the right, and lengths.
        model (recbole AbstractRecommender): any.
    """
    if type(model).__name__ not in CLOZE:
        return interactions
    longest = int(interactions[model.ITEM_SEQ_LEN].max())
    kept = {field: interactions[field] for field in interactions}
    return Interaction({**kept, model.ITEM_SEQ: kept[model.ITEM_SEQ][:, :longest]})
