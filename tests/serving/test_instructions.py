"""`unirep export --format=instructions`: content of the lines, skipped items, and errors."""

import json

import pytest

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.files.manifest import read_manifest
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.serving.instructions import TASKS


@pytest.fixture
def unirep(shell, tiny):
    """Runs a command on the tiny dataset; returns exit code and error."""

    def call(*arguments, **keys):
        keys = {"data_path": tiny.parent, **keys}
        code, _, error = shell(*arguments, *(f"--{key}={value}" for key, value in keys.items()))
        return code, error

    return call


@pytest.fixture
def bundle(unirep, tmp_path):
    """A bundle of the tiny dataset's items."""
    text = {"text_encoder": "lexical", "lexical_dim": 8, "codebook_size": 8, "n_levels": 2, "collisions": "append"}
    assert unirep("tokenize", dataset="tiny", out=tmp_path / "ids", **text)[0] == 0
    return tmp_path / "ids"


@pytest.fixture
def exported(unirep, bundle):
    """Exports with the given options; returns the folder."""

    def export(**keys):
        code, error = unirep("export", bundle, "--format=instructions", dataset="tiny", **keys)
        assert code == 0, error
        return bundle / "instructions"

    return export


def lines_of(folder, split):
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def known(tiny, bundle):
    """Data of the split, and the ID of each item as text."""
    config = Config("SASRec", "tiny", config_dict={"data_path": str(tiny.parent)})
    data = load_data(config, one_row_a_user=True)
    ids = SemanticIds.load(bundle)
    written = {
        item: "".join(f"<{level}_{code}>" for level, code in enumerate(ids.codes[row], start=1) if code >= 0)
        for item, row in ids.row.items()
    }
    return data, [""] + [written[item] for item in data.train.field2id_token["item_id"][1:]]


def test_training_lines_contain_only_training_targets(exported, known):
    folder, (data, written) = exported(max_history=4), known
    sequences, expected = data.train.sequences, []
    for user in range(1, data.train.user_num):
        items = sequences.of(user)[:-2].tolist()  # without validation and test target
        for place in range(1, len(items)):
            history = ", ".join(written[item] for item in items[max(0, place - 4) : place])
            expected.append((history, written[items[place]]))
    found = [line for line in lines_of(folder, "train") if line["task"] == "sequence"]
    forms = [form.split("{ids}") for form in TASKS["sequence"][0]]
    histories = []
    for line in found:
        ((before, after),) = [form for form in forms if line["prompt"].startswith(form[0])]
        assert line["prompt"].endswith(after)
        histories.append((line["prompt"].removeprefix(before).removesuffix(after), line["response"]))
    assert histories == expected
    assert len({line["prompt"].partition("<")[0] for line in found}) == 3  # every wording


def test_held_out_lines_are_the_targets_of_validation_and_test(exported, known):
    folder, (data, written) = exported(), known
    for split, held_out in (("valid", data.valid), ("test", data.test)):
        lines = lines_of(folder, split)
        assert [line["user"] for line in lines] == data.test.user_tokens[held_out.targets.users].tolist()
        assert [line["item"] for line in lines] == data.test.item_tokens[held_out.targets.items].tolist()
        assert [line["response"] for line in lines] == [written[item] for item in held_out.targets.items.tolist()]
        user, place = int(held_out.targets.users[0]), int(held_out.targets.positions[0])
        history = data.train.sequences.of(user)[max(0, place - 10) : place]
        assert ", ".join(written[item] for item in history) in lines[0]["prompt"]


def test_titles_and_ids_are_mapped_in_both_directions(exported, known):
    folder, written = exported(), known[1]
    lines = lines_of(folder, "train")
    by_task = {task: [line for line in lines if line["task"] == task] for task in TASKS}
    there, back = by_task["title_to_id"], by_task["id_to_title"]
    assert len(there) == len(back) > 50
    for one, other in zip(there, back):
        assert one["response"] in other["prompt"] and other["response"] in one["prompt"]
    assert {line["response"] for line in there} <= set(written)
    assert by_task["sequence_to_title"] and by_task["titles_to_id"]
    assert all("<" not in line["response"] for line in by_task["sequence_to_title"])
    assert all("<" not in line["prompt"] for line in by_task["titles_to_id"])


def test_id_tokens_and_ids_for_decoding_are_written_with_checksums(exported, known):
    folder, (data, written) = exported(), known
    manifest = read_manifest(folder)
    levels = json.loads((folder / "id_tokens.json").read_text())
    ids = json.loads((folder / "semantic_ids.json").read_text())
    assert ["".join(tokens) for tokens in ids.values()] == written[1:]
    assert list(ids) == data.train.field2id_token["item_id"][1:].tolist()
    assert [len(level) for level in levels[:2]] == [8, 8] and levels[1][3] == "<2_3>"
    assert all(token in level for tokens in ids.values() for token, level in zip(tokens, levels))
    counts = manifest["lines"]
    assert sum(counts["train"].values()) == len(lines_of(folder, "train"))
    assert manifest["dataset_fingerprint"] == data.fingerprint and manifest["max_history"] == 10
    (folder / "train.jsonl").write_text("")
    with pytest.raises(ValueError, match="train.jsonl has 0 bytes"):
        read_manifest(folder)


def test_the_same_seed_writes_the_same_lines(exported, bundle):
    first = read_manifest(exported())["files"]
    assert read_manifest(exported(overwrite=True))["files"] == first
    assert read_manifest(exported(overwrite=True, seed=7))["files"]["train.jsonl"] != first["train.jsonl"]


def test_bad_input_gives_one_line_and_writes_nothing(unirep, bundle, exported):
    before = sorted(bundle.iterdir())
    for folder, keys, message in (
        (bundle, {"dataset": "tiny", "max_history": 0}, "max_history=0 is not a whole number of at least 1"),
        (bundle, {"dataset": "tiny", "max_historie": 3}, "no option --max_historie: did you mean --max_history or"),
        (bundle, {}, "no dataset is given"),
        (bundle, {"dataset": "ml-100k", "data_path": "elsewhere"}, "the bundle lacks 1682 of 1682 items, '242' first"),
        (bundle.parent, {"dataset": "tiny"}, "bundle.json"),
        ("--x", {"dataset": "tiny"}, "--x has no value: write --x=VALUE"),
    ):
        code, error = unirep("export", folder, "--format=instructions", **keys)
        assert code == 2 and message in error and error.count("\n") == 1, error
        assert sorted(bundle.iterdir()) == before
    for keys, message in (
        ({"split": "cold_items"}, "was learned from all items, cold ones too: leave split out"),
        ({"overwrite": "yes"}, "overwrite=yes is neither True nor False"),
        ({"max_history": "²"}, "max_history=² is not a whole number"),
    ):
        code, error = unirep("export", bundle, "--format=instructions", dataset="tiny", **keys)
        assert code == 2 and message in error and sorted(bundle.iterdir()) == before
    exported()
    code, error = unirep("export", bundle, "--format=instructions", dataset="tiny")
    assert code == 2 and "exists: add --overwrite=True" in error


def test_items_that_the_bundle_lacks_are_named(unirep, bundle, tiny):
    with open(tiny / "tiny.inter", "a", encoding="utf-8") as file:
        file.write("".join(f"u1\tnew{number}\t{1_400_000_000 + number}\n" for number in range(2)))
    code, error = unirep("export", bundle, "--format=instructions", dataset="tiny")
    assert code == 2 and "the bundle lacks 2 of 120 items, 'new0' first: create it from this dataset" in error


def test_ids_with_a_gap_are_refused(unirep, tiny, tmp_path):
    keys = {"text_encoder": "lexical", "lexical_dim": 8, "codebook_size": 3, "leaf_items": 4, "collisions": "append"}
    keys |= {"tokenizer": "HierarchicalKMeans", "dataset": "tiny", "out": tmp_path / "gap"}
    assert unirep("tokenize", **keys)[0] == 0
    code, error = unirep("export", tmp_path / "gap", "--format=instructions", dataset="tiny")
    assert code == 2 and "end early and are followed by a number that tells equal IDs apart" in error
