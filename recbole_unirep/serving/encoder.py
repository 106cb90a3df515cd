"""recbole_unirep.serving.encoder: a causal model's sequence encoder as ONNX.

ONNX because a reader of it runs no code that the file brings: it is a graph of known operators and numbers, where
`torch.export.load` unpickles and evaluates expressions (torch's own documentation warns of files of others). It is
made by torch.onnx's exporter by tracing, which every torch from 2.5 on has alike; the newer one of torch 2.5 fixes the
number of rows.
"""

import io
import warnings

import torch
from torch import nn

from recbole_unirep.scoring.model_contract import sequence_states, with_item_table

try:
    import onnx  # noqa: F401  torch's exporter asks for it
except ImportError as error:
    raise ImportError(
        f"unirep export needs onnx ({error}): install it with pip install 'recbole-unirep[export]'"
    ) from error

INPUTS, OUTPUTS = ("item_vectors", "item_seq", "length"), ("state",)
OPSET = 17  # LayerNormalization is one operator from here on


class SequenceEncoder(nn.Module):
    """Items read, state out. The table of item vectors is an input, so that the graph holds no item.

    Args:
        model (recbole SequentialRecommender): causal, in evaluation mode; left as it is.
    """

    def __init__(self, model):
        super().__init__()
        self.table = _GivenRows()
        self.model = with_item_table(model, self.table)

    def forward(self, item_vectors, item_seq, length):
        """State behind the last item of each history.

        Args:
            item_vectors (Tensor): row 0 is padding's, shape: [n_items, H], float32.
            item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
            length (Tensor): number of items, at least 1, shape: [B], int64.

        Returns:
            Tensor: shape: [B, H], float32.
        """
        self.table.rows = [item_vectors]
        states = sequence_states(self.model)(item_seq)
        last = (length - 1)[:, None, None].expand(-1, 1, states.size(-1))
        return states.gather(1, last)[:, 0]


class _GivenRows(nn.Module):
    """Stands where a model has its item table and looks up rows that a caller gave, in a list that holds them."""

    def forward(self, ids):
        return nn.functional.embedding(ids, self.rows[0])


def onnx_encoder(model, item_vectors, max_length):
    """The encoder as the content of a file.

    Args:
        model (recbole SequentialRecommender): causal, on the CPU, in evaluation mode; left as it was.
        item_vectors (Tensor): shape: [n_items, H], float32.
        max_length (int): L, which the graph fixes; the number of rows and of items is free.

    Returns:
        bytes: of INPUTS and OUTPUTS.
    """
    n_items = len(item_vectors)
    item_seq = torch.arange(2 * max_length).view(2, max_length) % (n_items - 1) + 1
    item_seq[1, max(1, max_length // 2) :] = 0
    length = (item_seq > 0).sum(dim=1)
    axes = {"item_vectors": {0: "n_items"}, "item_seq": {0: "n_rows"}, "length": {0: "n_rows"}, "state": {0: "n_rows"}}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is the older one, a GRU's rows are free, ...
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
