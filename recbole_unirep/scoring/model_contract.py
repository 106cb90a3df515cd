"""recbole_unirep.scoring.model_contract: states of causal models at every position.

RecBole's `forward` returns the last position only. These run the same modules and return all positions, so that one
row trains all targets of a user.
"""

import torch
from recbole.data.interaction import Interaction

CLOZE = ("BERT4Rec",)


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
    model.gather_indexes = lambda states, _: states
    try:
        return model(item_seq, item_seq_len=item_seq.new_ones(len(item_seq)))
    finally:
        del model.gather_indexes


def s3rec_states(model, item_seq):
    """States of RecBole's S3Rec as it is fine-tuned, shapes as in `sasrec_states`."""
    return model(item_seq, bidirectional=False)


def read_items(model, item_seq):
    """Embeddings of the items, with what the model's `local_convolution`, if it has one, makes of those before each."""
    items, convolution = model.item_embedding(item_seq), getattr(model, "local_convolution", None)
    return items if convolution is None else items + convolution(items)


def own_states(model, item_seq):
    """States of a model of this package, shapes as in `sasrec_states`."""
    return model.states(item_seq)


CAUSAL = {
    "SASRec": sasrec_states,
    "GRU4Rec": gru4rec_states,
    "SASRecF": forward_states,
    "FDSA": forward_states,
    "GRU4RecF": forward_states,
    "S3Rec": s3rec_states,
    "HSTU": own_states,
}


def sequence_states(model):
    """The model's function from item ids [B, L] to states [B, L, H], or None where it is not causal."""
    own = getattr(model, "sequence_states", None)
    if own is not None:
        return own
    states = CAUSAL.get(type(model).__name__)
    return None if states is None else lambda item_seq: states(model, item_seq)


def trimmed(interactions, model):
    """Rows of RecBole without the columns that pad all of them, where the model reads no padding; others as they are.

    Args:
        interactions (recbole Interaction): with the model's sequences of items, 0 pads on the right, and lengths.
        model (recbole AbstractRecommender): any.
    """
    if type(model).__name__ not in CLOZE:
        return interactions
    longest = int(interactions[model.ITEM_SEQ_LEN].max())
    kept = {field: interactions[field] for field in interactions}
    return Interaction({**kept, model.ITEM_SEQ: kept[model.ITEM_SEQ][:, :longest]})
