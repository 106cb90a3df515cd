"""The rules of the house: which room imports which, what is shipped, one name in three places."""

import ast
import configparser
import functools
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
FURTHER = ("docs", "properties", "tests", "benchmarks", "results", ".ci")
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

# A room imports only rooms in the rows above its own. dataset_prep imports only files/ of recbole_unirep.
FLOORS = (
    ("analysis", "compat", "files", "generation", "parallel", "reports", "version"),
    ("dataset_prep", "settings"),
    ("tokenizer",),
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
IMPORT_DATASET_PREP = {"commands", "data", "dataset_prep", "quick_start", "semantic_ids"}
HEAVY_GUESTS = {
    "duckdb": {"dataset_prep/spilling.py"},
    "faiss": {"recbole_unirep/tokenizer/clustering.py", "recbole_unirep/serving/index.py"},  # k-means; search
    "fastapi": {"recbole_unirep/serving/service.py"},
    "filelock": {"recbole_unirep/files/lock.py"},
    "matplotlib": {"recbole_unirep/analysis/plots.py"},
    "onnx": {"recbole_unirep/serving/encoder.py"},
    "onnxruntime": {"recbole_unirep/serving/exported.py"},
    "plotly": {"recbole_unirep/analysis/charts.py"},
    "optuna": {"recbole_unirep/study/trials.py"},
    "pyarrow": {"recbole_unirep/serving/parquet.py"},
    "sentencepiece": {"recbole_unirep/semantic_ids/pieces.py"},
    "uvicorn": {"recbole_unirep/serving/server.py"},
    "transformers": {"recbole_unirep/serving/language_model.py"},
    "sentence_transformers": {"dataset_prep/encoders.py"},
}


# Modules that only some systems have. A function may import one if it has a fallback.
OF_ONE_SYSTEM = {"fcntl", "grp", "msvcrt", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty", "winreg"}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def every(paths):
    """A test of one file becomes a test of all of them: a thousand small tests take longer to start than to run."""

    def decorate(test):
        @functools.wraps(test)
        def test_of_all():
            failures = []
            for path in paths:
                try:
                    test(path)
                except AssertionError as error:
                    failures.append(f"{name_of(path)}: {error}")
            assert paths and not failures, "\n".join(failures)

        del test_of_all.__wrapped__  # pytest would take its argument for a fixture
        return test_of_all

    return decorate


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(tree):
    """Yields the dotted names that a module imports, anywhere in it: `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_at_once(tree):
    """Yields the root packages that are imported outside functions, i.e. when the module is imported."""
    statements = [tree]
    while statements:
        node = statements.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (module.partition(".")[0] for module in imported_modules(node))
        statements += ast.iter_child_nodes(node)


def room_of(module):
    """Returns the room of a module (model for recbole_unirep.model.unirep), None if it is not ours."""
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
    """Yields the top-level keys of a yaml file, each with its line."""
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
            assert FLOOR[there] < FLOOR[here], f"{here} imports {module}, which is not on a lower floor"


@every([path for path in OURS if path.is_relative_to(ROOT / "dataset_prep")])
def test_dataset_prep_imports_only_files_of_recbole_unirep(path):
    of_ours = {module for module in imported_modules(tree_of(path)) if module.partition(".")[0] == "recbole_unirep"}
    assert all(module.startswith("recbole_unirep.files.") for module in of_ours), of_ours


@every([path for path in OURS if path.is_relative_to(ROOT / "recbole_unirep" / "files")])
def test_files_imports_no_other_room(path):
    assert {room_of(module) for module in imported_modules(tree_of(path))} <= {None, "files"}


@every(OURS)
def test_no_module_of_one_system_is_imported_at_module_level(path):
    assert not OF_ONE_SYSTEM & set(imported_at_once(tree_of(path)))


def test_imports_at_module_level_are_distinguished_from_imports_in_functions():
    text = "try:\n    import fcntl\nexcept ImportError:\n    import a.b\nclass C:\n    from pwd import x\n"
    text += "    def f(self):\n        import resource\n"
    assert set(imported_at_once(ast.parse(text))) == {"fcntl", "a", "pwd"}


@every(OURS)
def test_only_some_rooms_import_dataset_prep(path):
    if room_of_file(path) not in IMPORT_DATASET_PREP:
        assert "dataset_prep" not in {module.partition(".")[0] for module in imported_modules(tree_of(path))}


@every([*OURS, *TESTS])
def test_imports_are_absolute(path):
    relative = [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


@every(OURS)
def test_no_module_imports_ray_or_a_module_that_imports_ray(path):
    modules = set(imported_modules(tree_of(path)))
    assert not {module for module in modules if re.match(r"(ray|recbole\.quick_start)(\.|$)", module)}


@every(OURS)
def test_a_heavy_guest_is_imported_only_by_its_files(path):
    guests = {module.partition(".")[0] for module in imported_modules(tree_of(path))} & HEAVY_GUESTS.keys()
    assert all(name_of(path) in HEAVY_GUESTS[guest] for guest in guests), guests


@every(OURS)
def test_no_module_raises_what_recbole_swallows(path):
    raised = [node.exc for node in ast.walk(tree_of(path)) if isinstance(node, ast.Raise) and node.exc]
    assert not [error.lineno for error in raised if "NotImplementedError" in ast.unparse(error)]


@every(OURS)
def test_no_text_is_run_as_code(path):
    calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    assert not {"eval", "exec"} & {called.id for called in calls if isinstance(called, ast.Name)}


CONTRACT = "recbole_unirep/scoring/model_contract.py"
# Names of the objects that the engine may use only through their contracts.
GIVEN = {"backbone", "config", "model", "recommender", "table"}


def last_name(node):
    """Returns the last name of an expression: model for `self.model`, config for `config`, None for others."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


@every([path for path in OURS if name_of(path) != CONTRACT and room_of_file(path) != "compat"])
def test_nothing_probes_a_model_outside_its_contract(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    calls = [call for call in calls if last_name(call.func) in ("hasattr", "getattr", "setattr") and call.args]
    probes = [call.lineno for call in calls if last_name(call.args[0]) in GIVEN or "model" in ast.unparse(call.args[0])]
    assert not probes, f"lines {probes}: use a Protocol of {CONTRACT}"


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
    assert not outside, f"lines {outside}: call a method of the model or config instead"


def test_the_root_of_the_package_has_few_files():
    assert len(list((ROOT / "recbole_unirep").glob("*.py"))) <= 6


@every([*OURS, *TESTS])
def test_a_file_holds_one_idea(path):
    assert path.name != "utils.py"
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    if n_lines > 300:
        warnings.warn(f"{name_of(path)} has {n_lines} lines: check if it holds two ideas", stacklevel=1)


@every(OURS)
def test_a_constructor_takes_at_most_eight_arguments(path):
    methods = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef))
    for args in (method.args for method in methods if method.name == "__init__"):
        names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
        assert len(names) <= 1 + 8, f"{', '.join(names)}: pass parts instead"  # 1: self


@every(OURS)
def test_a_module_has_a_docstring(path):
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
    commands = {"space": "unirep tune --models=", "stock": "recbole_unirep.register(); run_recbole(model="}
    command = commands.get(path.parent.name, "run_recbole --model=")
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
def test_no_file_names_a_machine_path_or_package_index(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.$}\])])/(?:work|root|home|tmp|opt|mnt)/\S*", text)
    assert not re.findall(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org", text)


def test_the_command_line_imports_nothing_heavy():
    heavy = "{'matplotlib', 'torch', 'numpy', 'pandas', 'recbole', 'sklearn', 'yaml'}"
    code = f"import sys, recbole_unirep.cli; print(sorted({heavy} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
