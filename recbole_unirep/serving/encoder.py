"""recbole_unirep.serving.encoder: exports a causal model's sequence encoder as ONNX.

Loading an ONNX file runs no code from the file: it is a graph of known operators and numbers. `torch.export.load`, in
contrast, unpickles and evaluates expressions, and torch's documentation warns of untrusted files. We use the tracing
exporter of torch.onnx, which behaves the same in every torch from 2.5 on. The newer exporter of torch 2.5 fixes the
number of rows.
"""

import io
import warnings

import torch
from torch import nn

from recbole_unirep.scoring.model_contract import sequence_states, with_item_table

try:
    import onnx  # noqa: F401  torch's exporter imports it
except ImportError as error:
    raise ImportError(
        f"unirep export needs onnx ({error}): install it with pip install 'recbole-unirep[export]'"
    ) from error

INPUTS, OUTPUTS = ("item_vectors", "item_seq", "length"), ("state",)
OPSET = 17  # first opset with LayerNormalization as one operator


class SequenceEncoder(nn.Module):
    """Maps item sequences to states. The table of item vectors is an input, so the graph contains no items.

    Args:
        model (recbole SequentialRecommender): causal model in evaluation mode; it is not changed.
    """

    def __init__(self, model):
        super().__init__()
        self.table = _InputTable()
        self.model = with_item_table(model, self.table)

    def forward(self, item_vectors, item_seq, length):
        """Returns the state after the last item of each history.

        Args:
            item_vectors (Tensor): row 0 is padding, shape: [n_items, H], float32.
            item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
            length (Tensor): number of items per history, at least 1, shape: [B], int64.

        Returns:
            Tensor: states, shape: [B, H], float32.
        """
        self.table.rows = [item_vectors]
        states = sequence_states(self.model)(item_seq)
        last = (length - 1)[:, None, None].expand(-1, 1, states.size(-1))
        return states.gather(1, last)[:, 0]


class _InputTable(nn.Module):
    """Replaces a model's item table: looks up ids in the one tensor of the list `rows`, which the caller sets."""

    def forward(self, ids):
        return nn.functional.embedding(ids, self.rows[0])


def onnx_encoder(model, item_vectors, max_length):
    """Returns the encoder as the content of an .onnx file.

    Args:
        model (recbole SequentialRecommender): causal model on the CPU in evaluation mode; it is not changed.
        item_vectors (Tensor): example input for tracing, shape: [n_items, H], float32.
        max_length (int): L, fixed in the graph; the numbers of rows and items are dynamic.

    Returns:
        bytes: ONNX graph with INPUTS and OUTPUTS.
    """
    n_items = len(item_vectors)
    item_seq = torch.arange(2 * max_length).view(2, max_length) % (n_items - 1) + 1
    item_seq[1, max(1, max_length // 2) :] = 0
    length = (item_seq > 0).sum(dim=1)
    axes = {"item_vectors": {0: "n_items"}, "item_seq": {0: "n_rows"}, "length": {0: "n_rows"}, "state": {0: "n_rows"}}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated exporter, dynamic number of rows in a GRU, ...
        torch.onnx.export(
            SequenceEncoder(model).eval(),
            (item_vectors, item_seq, length),
            file,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()
