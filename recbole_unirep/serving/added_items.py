"""recbole_unirep.serving.added_items: the file in a run's folder that stores items added after training.

The checkpoint and all other files of the run do not change. Deleting the file removes the added items.
"""

import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from recbole_unirep.files.checksums import file_sha256
from recbole_unirep.files.lock import locked
from recbole_unirep.files.whole import whole
from recbole_unirep.model.new_items import NewItems
from recbole_unirep.runs.folder import ADDED, BEST
from recbole_unirep.version import __version__

SECONDS = 60  # to wait for another command; writing items takes far less


class AddedItems(NamedTuple):
    """Items that were added to a run.

    Attributes:
        items (list of str): unique item tokens, shape: [M].
        titles (list of str): "" if an item has none, shape: [M].
        embedded (NewItems): vectors and codes from the run's model.
        batches (list of dict): one per call of `add_items`: number of items (n_items), `vectors` and `id_fallback`.
    """

    items: list
    titles: list
    embedded: NewItems
    batches: list

    def followed_by(self, others):
        """Returns these items and then the others."""
        pairs = zip(self.embedded, others.embedded)
        embedded = NewItems(*(None if one is None else torch.cat([one, other]) for one, other in pairs))
        return AddedItems(
            self.items + others.items, self.titles + others.titles, embedded, self.batches + others.batches
        )


def read_added(run):
    """Reads the items that were added to a run.

    Args:
        run (str or Path): folder of the run.

    Returns:
        AddedItems or None: None if no items were added.

    Raises:
        ValueError: the file is damaged, or was made for another checkpoint.
    """
    path = Path(run) / ADDED
    if not path.is_file():
        return None
    remedy = "remove it and add the items again (unirep add-items)"
    try:
        with safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {})["record"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        written = record.pop("sha256")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} can't be read ({error}): {remedy}") from error
    if _digest(record, tensors) != written:
        raise ValueError(f"{path} is not the file that was written (sha256 differs): restore it, or {remedy}")
    if record["checkpoint_sha256"] != _checkpoint_sha256(run):
        raise ValueError(f"{path} was made for a different {BEST} than the one in the folder: {remedy}")
    embedded = NewItems(*(tensors.get(name) for name in NewItems._fields))
    return AddedItems(record["items"], record["titles"], embedded, record["batches"])


def append_added(run, added):
    """Appends items to those added before. If writing fails, the old file is kept.

    Args:
        run (str or Path): folder of the run.
        added (AddedItems): items to append.

    Returns:
        AddedItems: items added before, then `added`.

    Raises:
        ValueError: an item was added before, another command uses the run, or the file is damaged.
        OSError: the folder can't be written.
    """
    path = Path(run) / ADDED
    busy = f"{run} is in use by another command: wait until it has ended, then add the items again"
    with locked(Path(run), busy=busy, seconds=SECONDS):
        before = read_added(run)
        if before is not None:
            check_new(added.items, before.items)
            added = before.followed_by(added)
        record = {
            "made_by": f"recbole-unirep {__version__}",
            "checkpoint_sha256": _checkpoint_sha256(run),
            "batches": added.batches,
            "items": added.items,
            "titles": added.titles,
        }
        parts = {name: part for name, part in added.embedded._asdict().items() if part is not None}
        tensors = {name: part.contiguous() for name, part in parts.items()}
        text = json.dumps({**record, "sha256": _digest(record, tensors)}, ensure_ascii=False)
        with whole(path) as partial:
            partial.write_bytes(save(tensors, {"record": text}))
    return added


def extended_dataset(dataset, added):
    """Returns a copy of a dataset with the added items after its own; `dataset` itself does not change.

    Args:
        dataset (recbole Dataset): the training part of the run's data.
        added (AddedItems): items to append, M of them.

    Returns:
        recbole Dataset: copy whose token and id mappings include the added items.
    """
    extended, field = copy.copy(dataset), dataset.iid_field
    tokens = np.append(dataset.field2id_token[field], np.array(added.items, dtype=object))
    first = len(dataset.field2id_token[field])
    numbers = {token: first + place for place, token in enumerate(added.items)}
    extended.field2id_token = {**dataset.field2id_token, field: tokens}
    extended.field2token_id = {**dataset.field2token_id, field: {**dataset.field2token_id[field], **numbers}}
    return extended


def check_new(items, known):
    """Raises ValueError if an item is already known."""
    known = set(known)
    taken = [item for item in items if item in known]
    if taken:
        raise ValueError(
            f"{len(taken)} of {len(items)} new items are already in the run ({', '.join(taken[:3])}"
            f"{', ...' if len(taken) > 3 else ''}): remove these rows"
        )


def _digest(record, tensors):
    digest = sha256(json.dumps(record, ensure_ascii=False).encode())
    for name in sorted(tensors):
        part = tensors[name]
        digest.update(f"\n{name} {part.dtype} {list(part.shape)}\n".encode())
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()


def _checkpoint_sha256(run):
    return file_sha256(Path(run) / BEST)
