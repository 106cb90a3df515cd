"""The rules of the house: who imports whom, what is shipped, one name in three places."""

import ast
import configparser
import importlib
import re
import subprocess
import sys
import warnings
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("recbole_unirep", "dataset_prep")
FURTHER = ("properties", "tests", "benchmarks", "results", ".ci")
OURS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
YAMLS = sorted((ROOT / "properties").rglob("*.yaml"))
TEXTS = sorted(
    path
    for path in [
        *ROOT.glob("*.*"),
        *(path for room in (*PACKAGES, *FURTHER) for path in (ROOT / room).rglob("*")),
        *(ROOT / ".github").rglob("*.yml"),
    ]
    if path.is_file() and (path.parent.name == ".ci" or path.suffix in {".cfg", ".md", ".py", ".toml", ".txt", ".yaml"})
)

# A room imports only rooms above it in this table. dataset_prep stands apart: of ours it imports files/ alone.
FLOORS = (
    ("analysis", "compat", "generation", "parallel", "reports", "settings", "version"),
    ("files", "tokenizer"),
    ("dataset_prep",),
    ("data", "runs"),
    ("scoring", "semantic_ids"),
    ("modules", "training"),
    ("model",),
    ("config",),
    ("quick_start",),
    ("serving", "study"),
    ("__init__", "frames", "testing"),
    ("commands",),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ASK_DATASET_PREP = {"commands", "data", "dataset_prep", "quick_start", "semantic_ids"}
HEAVY_GUESTS = {
    "duckdb": {"dataset_prep/spilling.py"},
    "faiss": {"recbole_unirep/tokenizer/clustering.py", "recbole_unirep/serving/index.py"},  # k-means; search
    "fastapi": {"recbole_unirep/serving/service.py"},
    "matplotlib": {"recbole_unirep/analysis/plots.py"},
    "onnx": {"recbole_unirep/serving/encoder.py"},
    "onnxruntime": {"recbole_unirep/serving/exported.py"},
    "plotly": {"recbole_unirep/analysis/charts.py"},
    "optuna": {"recbole_unirep/study/trials.py"},
    "pyarrow": {"recbole_unirep/serving/parquet.py"},
    "sentencepiece": {"recbole_unirep/semantic_ids/pieces.py"},
    "uvicorn": {"recbole_unirep/commands/serve.py"},
    "transformers": {"recbole_unirep/serving/language_model.py"},
    "sentence_transformers": {"dataset_prep/encoders.py"},
}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def every(paths):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(tree):
    """Dotted names a module imports, anywhere in it: `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module):
    """Room of a module of ours, None of any other: recbole_unirep.model.unirep lives in model."""
    package, _, rest = module.partition(".")
    if package == "dataset_prep":
        return package
    if package != "recbole_unirep":
        return None
    return rest.partition(".")[0]


def room_of_file(path):
    package, *rest = path.relative_to(ROOT).with_suffix("").parts
    return package if package == "dataset_prep" else rest[0]


def top_level_keys(path):
    """Keys at a yaml file's left margin, each with its line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w-]+):", line):
            yield match[1], line


def listed(section, key):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return [line for line in config[section][key].splitlines() if line and not line.startswith("#")]


@every(OURS)
def test_a_room_imports_only_rooms_below_it(path):
    here = room_of_file(path)
    assert here in FLOOR, f"{here} has no floor: give it one in FLOORS"
    for module in imported_modules(tree_of(path)):
        there = room_of(module)
        if there in FLOOR and there != here:
            assert FLOOR[there] < FLOOR[here], f"{here} imports {module}, which is not below it"


@every(OURS)
def test_only_data_preparation_and_the_quick_start_ask_dataset_prep(path):
    if room_of_file(path) not in ASK_DATASET_PREP:
        assert "dataset_prep" not in {module.partition(".")[0] for module in imported_modules(tree_of(path))}


@every([*OURS, *TESTS])
def test_imports_are_absolute(path):
    relative = [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


@every(OURS)
def test_nobody_imports_ray_or_what_imports_ray(path):
    modules = set(imported_modules(tree_of(path)))
    assert not {module for module in modules if re.match(r"(ray|recbole\.quick_start)(\.|$)", module)}


@every(OURS)
def test_a_heavy_guest_enters_by_its_files_alone(path):
    guests = {module.partition(".")[0] for module in imported_modules(tree_of(path))} & HEAVY_GUESTS.keys()
    assert all(name_of(path) in HEAVY_GUESTS[guest] for guest in guests), guests


@every(OURS)
def test_nothing_raises_what_recbole_swallows(path):
    raised = [node.exc for node in ast.walk(tree_of(path)) if isinstance(node, ast.Raise) and node.exc]
    assert not [error.lineno for error in raised if "NotImplementedError" in ast.unparse(error)]


@every(OURS)
def test_no_text_is_run_as_code(path):
    calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    assert not {"eval", "exec"} & {called.id for called in calls if isinstance(called, ast.Name)}


CONTRACT = "recbole_unirep/scoring/model_contract.py"
# What the engine is given and may only ask, by the names it has for it.
GIVEN = {"backbone", "config", "model", "recommender", "table"}


def last_name(node):
    """The name that an expression ends with: model of `self.model`, config of `config`, None of others."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


@every([path for path in OURS if name_of(path) != CONTRACT and room_of_file(path) != "compat"])
def test_nothing_probes_a_model_outside_its_contract(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    calls = [call for call in calls if last_name(call.func) in ("hasattr", "getattr", "setattr") and call.args]
    probes = [call.lineno for call in calls if last_name(call.args[0]) in GIVEN or "model" in ast.unparse(call.args[0])]
    assert not probes, f"lines {probes}: ask for a Protocol of {CONTRACT}"


@every(OURS)
def test_nothing_sets_an_attribute_of_a_model_or_a_config_from_outside(path):
    targets = []
    for node in ast.walk(tree_of(path)):
        given = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets += [part for whole in given for part in (whole.elts if isinstance(whole, ast.Tuple) else [whole])]
    outside = [
        node.lineno
        for node in targets
        if isinstance(node, ast.Attribute) and last_name(node.value) in {"model", "config"}
    ]
    assert not outside, f"lines {outside}: a model and a config change themselves, by a method"


def test_the_root_of_the_package_is_short():
    assert len(list((ROOT / "recbole_unirep").glob("*.py"))) <= 6


@every([*OURS, *TESTS])
def test_a_file_holds_one_idea(path):
    assert path.name != "utils.py"
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    if n_lines > 300:
        warnings.warn(f"{name_of(path)} has {n_lines} lines: look whether it holds two ideas", stacklevel=1)


@every(OURS)
def test_a_constructor_takes_at_most_eight_arguments(path):
    methods = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef))
    for args in (method.args for method in methods if method.name == "__init__"):
        names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
        assert len(names) <= 1 + 8, f"{', '.join(names)}: give the class its parts"  # 1: self


@every(OURS)
def test_a_module_says_what_it_is(path):
    assert ast.get_docstring(tree_of(path))


def test_every_package_is_shipped():
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in OURS}
    assert sorted({*folders, "recbole_unirep.properties"}) == listed("options", "packages")
    assert all((ROOT / folder.replace(".", "/") / "__init__.py").is_file() for folder in folders)


@every(YAMLS)
def test_every_yaml_is_shipped(path):
    patterns = listed("options.package_data", "recbole_unirep.properties")[0].split(", ")
    relative = path.relative_to(ROOT / "properties")
    assert any(
        len(Path(pattern).parts) == len(relative.parts) and fnmatch(relative.as_posix(), pattern)
        for pattern in patterns
    )


def test_every_dependency_has_a_tested_version():
    wanted = listed("options", "install_requires") + listed("options.extras_require", "test")
    names = {re.match(r"[\w-]+", line)[0] for line in wanted}
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert names <= {name.lower().replace("_", "-") for name in re.findall(r"^([\w-]+)==", tested, re.MULTILINE)}


@pytest.mark.parametrize(("room", "table"), [("model", "MODELS"), ("tokenizer", "TOKENIZERS")])
def test_one_name_in_three_places(room, table):
    classes = getattr(importlib.import_module(f"recbole_unirep.{room}"), table)
    assert classes
    assert sorted(classes) == sorted(path.stem for path in (ROOT / "properties" / room).glob("*.yaml"))
    for name, cls in classes.items():
        assert cls.__name__ == name
        assert cls.__module__ == f"recbole_unirep.{room}.{name.lower()}"


@every(YAMLS)
def test_every_yaml_opens_with_its_command_and_explains_its_keys(path):
    command = "unirep tune --models=" if path.parent.name == "space" else "run_recbole --model="
    assert path.read_text(encoding="utf-8").startswith(f"# {command}")
    unexplained = [
        key
        for key, line in top_level_keys(path)
        if not re.search(r":\s*\*\w+$", line) and not re.search(r"# \((\w+( or \w+| of \w+)*)\) \S", line)
    ]
    assert not unexplained


@every(YAMLS)
def test_a_yaml_gives_a_key_once(path):
    keys = [key for key, _ in top_level_keys(path)]
    assert sorted(keys) == sorted(yaml.safe_load(path.read_text(encoding="utf-8")))


@every(TEXTS)
def test_no_file_knows_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.$}\])])/(?:work|root|home|tmp|opt|mnt)/\S*", text)
    assert not re.findall(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org", text)


def test_the_command_line_imports_nothing_heavy():
    heavy = "{'matplotlib', 'torch', 'numpy', 'pandas', 'recbole', 'sklearn', 'yaml'}"
    asked = f"import sys, recbole_unirep.cli; print(sorted({heavy} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
