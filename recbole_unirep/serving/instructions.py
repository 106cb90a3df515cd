"""recbole_unirep.serving.instructions: exports training data for a language model that generates semantic IDs.

    train.jsonl           task, prompt and response per line
    valid.jsonl, test.jsonl   held-out targets: user, item, prompt and response of the task `sequence`
    id_tokens.json        tokens of the codes, to be added to the vocabulary, level by level
    semantic_ids.json     ID tokens per item; decoding may generate only these
    manifest.json         dataset and tokenizer, lines per task, sha256 of each file

Reference:
    Bowen Zheng et al. "Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation"
        (LC-Rec), ICDE 2024, arXiv:2311.09049 (tasks that join titles and IDs in both directions).
    Xiaoyu Kong et al. "MiniOneRec", arXiv:2510.24431; Zhanyu Liu et al. "OneRec-Think", arXiv:2510.11639.

The wording of the prompts is written for this package. Titles come from the `.item` file. Tasks that need a title skip
items without one.
"""

import json
from collections import Counter

import numpy as np

from recbole_unirep.config import Config
from recbole_unirep.data.cooccurrence import n_training
from recbole_unirep.data.item_file import item_titles
from recbole_unirep.data.split import load_data
from recbole_unirep.files.manifest import check_place, write_manifest
from recbole_unirep.files.whole import whole_folder
from recbole_unirep.runs.log import RunLog
from recbole_unirep.semantic_ids.ids import SemanticIds, is_numbered, read_record
from recbole_unirep.settings.arguments import join_arguments
from recbole_unirep.version import __version__

TASKS = {  # task: (prompts, one drawn per line; response)
    "sequence": (
        (
            "Someone took these items, oldest first: {ids}. Which item comes next?",
            "A history of items, in order: {ids}. Recommend the item that follows.",
            "After {ids}, the next item is",
        ),
        "{id}",
    ),
    "sequence_to_title": (
        (
            "Someone took these items, oldest first: {ids}. What is the next one called?",
            "A history of items, in order: {ids}. Give the title of the item that follows.",
        ),
        "{title}",
    ),
    "titles_to_id": (
        (
            "Someone took these, oldest first: {titles}. Which item comes next?",
            "A history by title, in order: {titles}. Recommend the item that follows.",
        ),
        "{id}",
    ),
    "title_to_id": (("Which item is called {title}?", "The item with the title {title} is"), "{id}"),
    "id_to_title": (("What is the title of {id}?", "The item {id} is called"), "{title}"),
}


def export_instructions(bundle, out, max_history, overwrite, keys):
    """Writes the training data of a language model.

    Args:
        bundle (str or Path): folder of the bundle of semantic IDs.
        out (str or Path): folder to create.
        max_history (int): maximum number of items in a history.
        overwrite (bool): True replaces an existing export.
        keys (dict[str, str]): config keys with their values as text: dataset, seed, data and split.

    Returns:
        dict[str, dict[str, int]]: number of lines per split and task.

    Raises:
        FileExistsError: `out` exists and `overwrite` is False, or `out` is not an export.
        FileNotFoundError: `bundle` holds no bundle, or the dataset is missing.
        ValueError: a key or the bundle does not fit this export, or the bundle lacks items of the dataset.
    """
    semantic_ids, record = SemanticIds.load(bundle), read_record(bundle)
    check_place(out, overwrite)
    if is_numbered(record) and (semantic_ids.codes[:, :-1] < 0).any():
        raise ValueError(
            f"IDs of {bundle} end early and are followed by a number that tells equal IDs apart, which tokens cannot "
            f"express: create the bundle with another policy for collisions, such as leave"
        )
    with RunLog(speaks=False):
        config = Config("SASRec", arguments=join_arguments(keys))
        if config["split"] == "cold_items":
            raise ValueError(f"split=cold_items: {bundle} was learned from all items, cold ones too: leave split out")
        data = load_data(config, one_row_a_user=True)
        lines = _Lines(config, data, semantic_ids, max_history)
        with whole_folder(out, replace=True) as folder:
            counts = {"train": _write(folder / "train.jsonl", lines.training())}
            for split in ("valid", "test"):
                counts[split] = _write(folder / f"{split}.jsonl", lines.held_out(getattr(data, split)))
            _write_json(folder / "id_tokens.json", id_tokens(semantic_ids.codebook_sizes))
            _write_json(folder / "semantic_ids.json", dict(zip(lines.items[1:].tolist(), lines.written[1:])))
            write_manifest(
                folder,
                {
                    "kind": "instructions",
                    "made_by": f"recbole-unirep {__version__}",
                    "dataset": config["dataset"],
                    "dataset_fingerprint": data.fingerprint,
                    "tokenizer": record.get("tokenizer"),
                    "n_items": len(lines.items) - 1,
                    "split": config["split"],
                    "max_history": max_history,
                    "seed": config["seed"],
                    "lines": counts,
                },
            )
    return counts


def id_tokens(codebook_sizes):
    """Returns the token of each code, one list of str per level."""
    return [[f"<{level}_{code}>" for code in range(size)] for level, size in enumerate(codebook_sizes, start=1)]


class _Lines:
    """Generates the lines of the files.

    Attributes:
        items (np.ndarray): item token per item id, row 0 pads, shape: [n_items], str.
        written (list of list of str): ID tokens per item id, empty for padding.
    """

    def __init__(self, config, data, semantic_ids, max_history):
        train = data.train
        self.sequences, self.max_history = train.sequences, max_history
        self.n_first = n_training(train, "the instructions")
        self.n_training_items = data.test.n_training_items
        self.items = train.field2id_token[train.iid_field].astype(str)
        missing = [item for item in self.items[1:] if item not in semantic_ids.row]
        if missing:
            raise ValueError(
                f"the bundle lacks {len(missing)} of {len(self.items) - 1} items, {str(missing[0])!r} first: create it "
                f"from this dataset with unirep tokenize"
            )
        tokens = id_tokens(semantic_ids.codebook_sizes)
        rows = [semantic_ids.codes[semantic_ids.row[item]] for item in self.items[1:]]
        self.written = [[], *([tokens[level][code] for level, code in enumerate(row) if code >= 0] for row in rows)]
        self.titles = item_titles(config, self.items)
        self.seed = config["seed"]

    def training(self):
        """Yields training lines of all tasks: first one set per item, then one per target of a user."""
        draw = np.random.default_rng(self.seed)
        for item in range(1, self.n_training_items):
            if self.titles[item]:
                for task in ("title_to_id", "id_to_title"):
                    yield self._line(task, draw, [], item)
        for user in np.flatnonzero(self.n_first > 1).tolist():
            items = self.sequences.of(user)[: self.n_first[user]].tolist()
            for place in range(1, len(items)):
                history = items[max(0, place - self.max_history) : place]
                yield self._line("sequence", draw, history, items[place])
                if self.titles[items[place]]:
                    yield self._line("sequence_to_title", draw, history, items[place])
                if all(self.titles[item] for item in history):
                    yield self._line("titles_to_id", draw, history, items[place])

    def held_out(self, targets):
        """Yields one `sequence` line per target of a split, always with the first prompt."""
        users, places = targets.targets.users.tolist(), targets.targets.positions.tolist()
        for user, place, item in zip(users, places, targets.targets.items.tolist()):
            history = self.sequences.of(user)[max(0, place - self.max_history) : place].tolist()
            known = {"user": str(targets.user_tokens[user]), "item": str(self.items[item])}
            yield {**known, **self._line("sequence", None, history, item)}

    def _line(self, task, draw, history, item):
        prompts, response = TASKS[task]
        prompt = prompts[0 if draw is None else draw.integers(len(prompts))]
        words = {
            "ids": ", ".join("".join(self.written[earlier]) for earlier in history),
            "titles": "; ".join(f'"{self.titles[earlier]}"' for earlier in history),
            "id": "".join(self.written[item]),
            "title": self.titles[item],
        }
        return {"task": task, "prompt": prompt.format(**words), "response": response.format(**words)}


def _write(path, lines):
    """Writes JSON lines; returns the number of lines per task."""
    counts = Counter()
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            counts[line["task"]] += 1
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return dict(counts)


def _write_json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
