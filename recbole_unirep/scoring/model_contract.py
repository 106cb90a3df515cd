"""recbole_unirep.scoring.model_contract: the complete interface between the engine and a recommender.

Each capability is a Protocol. A model has the capability if it has the members of the Protocol:
`isinstance(model, Generative)`. RecBole's own models have none of these members. The functions below therefore also
name RecBole's causal models, and compute the state at every position where RecBole's `forward` returns only the last
one. One training row then trains all targets of a user.

The engine uses nothing beyond this interface. It never sets an attribute of a model and never replaces a method.

Shapes: B users, L sequence length, H hidden_size, C candidates, N items.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_unirep.scoring.caser import caser_states
from recbole_unirep.scoring.prefix_states import hgn_states, narm_states, stamp_states


@runtime_checkable
class Causal(Protocol):
    """A model whose state at a position depends only on the items up to it. It also has an `item_embedding`."""

    @property
    def sequence_states(self) -> Callable[[Tensor], Tensor] | None:
        """Function from item ids [B, L] to states [B, L, H]; None if the model's backbone is not causal."""


@runtime_checkable
class RowTrained(Protocol):
    """A model that computes its losses itself, on this package's training rows."""

    def row_losses(self, batch) -> tuple:
        """Returns the weighted parts of the loss of a RowBatch, in the order of `loss_names`, shape: [] each."""


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
        """Weight that each part has been multiplied by."""


@runtime_checkable
class Generative(Protocol):
    """A model that generates semantic IDs. It finds some items by search and scores any given candidate exactly."""

    num_beams: int
    exact_ranking: bool

    def memory_of(self, interaction) -> Any:
        """Encodes the histories of a batch of users; the result is passed to the two methods below."""

    def catalogue_scores(self, memory) -> Tensor:
        """Log-likelihood per item, -inf for items that the search did not find, shape: [B, N]."""

    def candidate_scores(self, memory, items: Tensor) -> Tensor:
        """Log-likelihood of each user's candidates; items [B, C], result [B, C]."""


@runtime_checkable
class AddsToScores(Protocol):
    """A model that adds a bias to the dot product of state and item."""

    @property
    def ranking_bias(self) -> nn.Module | None:
        """A `model.score_bias.ScoreBias`; None if nothing is added."""


@runtime_checkable
class EmbedsAsNew(Protocol):
    """A model with a `ranking_bias` that can embed its own items as if they had taken no part in training."""

    @property
    def embeds_new_items(self) -> bool:
        """False if a setting makes new items impossible, such as items without text."""

    def embed_as_new(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns rows of the item table [M, H] and unit vectors [M, D] for item ids [M]."""


@runtime_checkable
class HasCodes(Protocol):
    """A model with semantic IDs."""

    def codebook_report(self) -> Mapping[str, float]:
        """Codebook usage, perplexity, coverage and collisions over all items; empty if the items have no codes."""


@runtime_checkable
class SizesItsTable(Protocol):
    """A model that counts its learned parameters addressed by item or by code."""

    @property
    def item_table_parameters(self) -> int:
        """Number of these parameters, without padding and special tokens (as in the paper's Table 5)."""


@runtime_checkable
class MovesCodebooks(Protocol):
    """A model whose codebooks may be updated by an exponential moving average."""

    @property
    def n_ema_parameters(self) -> int:
        """Number of learned parameters that no gradient updates."""


@runtime_checkable
class ReadsText(Protocol):
    """A model that uses item text."""

    text_encoder: str | None


@runtime_checkable
class HasIDTable(Protocol):
    """A model whose table of learned rows, one per item, is not its `item_embedding`."""

    @property
    def id_table(self) -> nn.Module | None:
        """The table with one learned row per item; None if there is none."""


@runtime_checkable
class BuiltOnTokenizers(Protocol):
    """A model built on tokenizers that were fitted before training. Its run keeps them as bundles."""

    def take_fitted(self) -> Mapping[str, Any]:
        """Returns the FittedCodes by folder name and drops the model's own reference to them."""


@runtime_checkable
class StartsFromRun(Protocol):
    """A model that starts from the weights of another run."""

    def begin(self) -> None:
        """Loads these weights."""


@runtime_checkable
class FitsCodes(Protocol):
    """A model that may train without its codes, and fits them for ranking."""

    def fit_codes(self) -> None:
        """Fits the codes to the current weights, after every epoch; changes nothing if training moves the codes."""


@runtime_checkable
class Clusters(Protocol):
    """RecBole's NCL, which repeats its clustering every few epochs."""

    def e_step(self) -> None:
        """Clusters users and items."""


@runtime_checkable
class TakesNewItems(Protocol):
    """A model that can rank items added after training."""

    def add_items(self, new, sizes: Sequence[int]) -> None:
        """Appends a `model.new_items.NewItems`; `sizes` holds the number of items of each batch of additions."""


@runtime_checkable
class FitsDefaults(Protocol):
    """A model class some of whose defaults depend on other settings."""

    @staticmethod
    def fitted_defaults(given: Mapping, settings: Mapping, has_rows: bool | None) -> tuple[dict, list]:
        """Returns defaults to replace those in `settings`, and lines for the log that say why.

        Args:
            given (mapping): the user's keys, which no default replaces.
            settings (mapping): all keys, the user's over the defaults.
            has_rows (bool or None): whether training can read this package's rows; None asks the settings.
        """


@runtime_checkable
class OverBackbone(Protocol):
    """A model whose item table belongs to one of its submodules."""

    def with_item_table(self, table: nn.Module) -> nn.Module:
        """Returns a copy that looks items up in `table`; all other modules are shared with the model."""


class _AllPositions:
    """Proxy of a model whose `gather_indexes` returns all positions; all other attributes are the model's own."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def gather_indexes(self, states, _):
        return states


def sasrec_states(model, item_seq):
    """Returns the states of RecBole's SASRec.

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
    """Returns the states of RecBole's GRU4Rec; shapes as in `sasrec_states`."""
    hidden, _ = model.gru_layers(model.emb_dropout(read_items(model, item_seq)))
    return model.dense(hidden)


def forward_states(model, item_seq):
    """Returns the states of RecBole's own `forward`, without its `gather_indexes`; shapes as in `sasrec_states`.

    `gather_indexes` picks the last position. The other steps of these models treat every position alike and never
    look at later positions.
    """
    return type(model).forward(_AllPositions(model), item_seq, item_seq_len=item_seq.new_ones(len(item_seq)))


def s3rec_states(model, item_seq):
    """Returns the states of RecBole's S3Rec in fine-tuning; shapes as in `sasrec_states`."""
    return model(item_seq, bidirectional=False)


def read_items(model, item_seq):
    """Returns item embeddings, plus their `local_convolution` if the model has one, shape: [B, L, H]."""
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
# Models whose state at a position depends on the user, the padding or all earlier states too.
PREFIXES = {"Caser": caser_states, "HGN": hgn_states, "STAMP": stamp_states, "NARM": narm_states}
SCORED_TABLES = {"HGN": "item_embedding_for_prediction"}  # if it is not the `item_embedding`


def is_causal(model_class):
    """True if a class computes states at every position: it has a method `sequence_states`, or CAUSAL names it.

    False for a class whose `sequence_states` is a property (UniRep): there the backbone decides.
    """
    return callable(getattr(model_class, "sequence_states", None)) or model_class.__name__ in CAUSAL


def declared_item_size_key(model_class):
    """Returns the config key of the size of a backbone's item table, as its class declares it; None if it does not."""
    return getattr(model_class, "item_size_key", None)


def sequence_states(model):
    """Returns the model's function from item ids [B, L] to states [B, L, H]; None if the model is not causal."""
    own = model.sequence_states if isinstance(model, Causal) else None
    if own is not None:
        return own
    states = CAUSAL.get(type(model).__name__)
    return None if states is None else lambda item_seq: states(model, item_seq)


def prefix_states(model):
    """Returns the model's states of the prefixes that end at some places of histories.

    Returns:
        callable or None: maps item ids [B, L], user ids [B] and a mask of the places [B, L] to states [P, H], row by
        row; a score is a state times a row of `scored_table`. None if a prefix needs a forward pass of its own.
    """
    states = sequence_states(model)
    if states is not None:
        return lambda item_seq, users, is_wanted: states(item_seq)[is_wanted]
    of_prefixes = PREFIXES.get(type(model).__name__)
    return None if of_prefixes is None else partial(of_prefixes, model)


def scored_table(model):
    """Returns the module whose rows are multiplied with states; maps item ids to vectors, and has `.weight`."""
    return getattr(model, SCORED_TABLES.get(type(model).__name__, "item_embedding"))


def scores_by_table(model):
    """True if a score is the last state times a row of the model's item table, plus an optional `ranking_bias`."""
    return not isinstance(model, Generative) and sequence_states(model) is not None


def ranking_bias(model):
    """Returns the ScoreBias that the model adds to the dot product of state and item; None if it adds nothing."""
    return model.ranking_bias if isinstance(model, AddsToScores) else None


def item_table(model):
    """Returns the module that looks up the model's items; None if the model has none.

    Args:
        model (recbole AbstractRecommender): ours or RecBole's.

    Returns:
        nn.Module or None: maps item ids to vectors when called, and has `.weight`.
    """
    table = getattr(model, "item_embedding", None)
    return table if hasattr(table, "num_embeddings") else None  # nn.Embedding, or a stand-in for it


def id_table(model):
    """Returns a causal model's table with one learned row per item; None if there is none."""
    if sequence_states(model) is None:
        return None
    return model.id_table if isinstance(model, HasIDTable) else model.item_embedding


def with_item_table(model, table):
    """Returns a copy of a causal model that looks items up in another table; all other modules are shared.

    Args:
        model (recbole SequentialRecommender): not changed.
        table (nn.Module): item ids [...] to vectors [..., H].
    """
    return model.with_item_table(table) if isinstance(model, OverBackbone) else replaced(model, item_embedding=table)


def replaced(module, **parts):
    """Returns a copy of a module with some submodules replaced; the others are shared, and `module` is not changed."""
    copied = copy.copy(module)
    copied.__dict__["_modules"] = {**module._modules, **parts}
    return copied


def trimmed(interactions, model):
    """Removes the columns that are padding in every row, for models that ignore padding (CLOZE).

    Args:
        interactions (recbole Interaction): holds the model's item sequences, 0 pads on the right, and their lengths.
        model (recbole AbstractRecommender): any.

    Returns:
        recbole Interaction: for other models the same object.
    """
    if type(model).__name__ not in CLOZE:
        return interactions
    longest = int(interactions[model.ITEM_SEQ_LEN].max())
    kept = {field: interactions[field] for field in interactions}
    return Interaction({**kept, model.ITEM_SEQ: kept[model.ITEM_SEQ][:, :longest]})
