"""recbole_unirep.serving.instructions: training data of a language model that writes the IDs of a bundle.

    train.jsonl           task, prompt and response of each line
    valid.jsonl, test.jsonl   the held-out targets: user, item, prompt and response of the task `sequence`
    id_tokens.json        the tokens that semantic IDs are written in, to be added to a vocabulary
    semantic_ids.json     each item's tokens, item by item: all that decoding may write
    manifest.json         where from, how many lines of each task, sha256 of each file

Reference:
    Bowen Zheng et al. "Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation"
        (LC-Rec), ICDE 2024, arXiv:2311.09049 (tasks that join titles and IDs in both directions).
    Xiaoyu Kong et al. "MiniOneRec", arXiv:2510.24431; Zhanyu Liu et al. "OneRec-Think", arXiv:2510.11639.

The wording is ours. Titles are those of the `.item` file; what has none has no part in the tasks that need one.
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

TASKS = {  # prompts of a task, one of which is drawn for each line, and what answers them
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
        bundle (str or Path): its folder.
        out (str or Path): the folder to write.
        max_history (int): most items in a history.
        overwrite (bool): whether an export that is already there is replaced.
        keys (dict[str, str]): texts of config keys: dataset, seed, data and split.

    Returns:
        dict[str, dict[str, int]]: lines of each task, by split.

    Raises:
        FileExistsError: the folder already exists and `overwrite` is False, or holds something else.
        FileNotFoundError: the folder holds no bundle, or the dataset is missing.
        ValueError: a key can't be used, or the bundle lacks items of the dataset.
    """
    semantic_ids, record = SemanticIds.load(bundle), read_record(bundle)
    check_place(out, overwrite)
    if is_numbered(record) and (semantic_ids.codes[:, :-1] < 0).any():
        raise ValueError(
            f"IDs of {bundle} end early and then have a number that tells equal ones apart, which no text of "
            f"tokens says: make the bundle with another policy for collisions, such as leave"
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
    """The token of each code of each level, level by level, list of list of str."""
    return [[f"<{level}_{code}>" for code in range(size)] for level, size in enumerate(codebook_sizes, start=1)]


class _Lines:
    """Lines of the files.

    Attributes:
        items (np.ndarray): token of each item id, row 0 pads.
        written (list of list of str): tokens of each item's ID.
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
                f"the bundle lacks {len(missing)} of {len(self.items) - 1} items, {str(missing[0])!r} first: make it "
                f"of this dataset by unirep tokenize"
            )
        tokens = id_tokens(semantic_ids.codebook_sizes)
        rows = [semantic_ids.codes[semantic_ids.row[item]] for item in self.items[1:]]
        self.written = [[], *([tokens[level][code] for level, code in enumerate(row) if code >= 0] for row in rows)]
        self.titles = item_titles(config, self.items)
        self.seed = config["seed"]

    def training(self):
        """Lines of all tasks, those of items first."""
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
        """Lines of a split's targets, all with the task's first prompt."""
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
    """Writes JSON lines: how many of each task."""
    counts = Counter()
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            counts[line["task"]] += 1
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return dict(counts)


def _write_json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
