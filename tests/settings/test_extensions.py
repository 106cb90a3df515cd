"""Entry points of other packages: lookups, yaml layers, and one error line that names a broken or clashing package."""

import sys

import pytest

from recbole_unirep import cli
from recbole_unirep.config import Config, find_model
from recbole_unirep.data.item_text import encodings
from recbole_unirep.model.backbone import backbone_class, backbone_names
from recbole_unirep.settings import extensions
from recbole_unirep.settings.extensions import GROUPS, extension_names, find_extension
from recbole_unirep.settings.known_keys import special_keys
from recbole_unirep.settings.parts import part_file, part_names
from recbole_unirep.tokenizer import tokenizer_class, tokenizer_names
from recbole_unirep.tokenizer.base import shipped_defaults

TOKENIZER = "from recbole_unirep.tokenizer.rqkmeans import RQKMeans\n\n\nclass Loud(RQKMeans):\n    pass\n"
YAML = "loudness: 3  # (int) How loud.\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Writes an installed package to a folder on sys.path: modules, yaml files and entry points."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def put(package, points, files):
        """Takes entry points by kind, {"tokenizer": "Loud = loud.inner:Loud"}, and contents of files by path."""
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        metadata = folder / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("".join(f"[{GROUPS[k]}]\n{v}\n" for k, v in points.items()))
        extensions.extensions.cache_clear()
        special_keys.cache_clear()

    yield put
    monkeypatch.undo()
    extensions.extensions.cache_clear()
    special_keys.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "loud"]:
        del sys.modules[module]


LOUD = {"loud/__init__.py": "", "loud/inner.py": TOKENIZER, "loud/Loud.yaml": YAML}


def test_the_yaml_beside_the_module_declares_the_keys(install):
    install("loud-ids", {"tokenizer": "Loud = loud.inner:Loud"}, LOUD)
    assert part_file("tokenizer", "Loud").name == "Loud.yaml" and shipped_defaults("Loud") == {"loudness": 3}
    assert Config("UniRep", "ml-100k", config_dict={"tokenizer": "Loud"})["loudness"] == 3
    config = Config("UniRep", "ml-100k", config_dict={"tokenizer": "Loud", "loudness": 5})
    assert config["loudness"] == 5 and config.notes == []
    (note,) = Config("SASRec", "ml-100k", config_dict={"loudness": 5}).notes
    assert note == "SASRec does not use loudness: keys of other models or tokenizers"
    with pytest.raises(ValueError, match="unknown key 'loudnes', did you mean 'loudness'"):
        Config("SASRec", "ml-100k", config_dict={"loudnes": 5})


def test_a_module_is_imported_when_its_class_is_looked_up(install):
    install("loud-ids", {"tokenizer": "Loud = loud.inner:Loud"}, LOUD)
    Config("UniRep", "ml-100k")
    assert "Loud" in tokenizer_names() and "Loud" in part_names("tokenizer") and "loud" not in sys.modules
    assert tokenizer_class("Loud").__module__ == "loud.inner"


def test_a_broken_package_does_not_disturb_runs_that_do_not_use_it(install):
    points = dict.fromkeys(GROUPS, "Loud = loud.gone:Loud")
    install("loud-ids", points, {"loud/__init__.py": "raise RuntimeError('no')", "loud/Loud.yaml": "[1"})
    assert Config("UniRep", "ml-100k")["tokenizer"] == "RQVAE"
    assert tokenizer_class("RQVAE").__name__ == "RQVAE"


@pytest.mark.parametrize(
    ("point", "files", "error", "message"),
    [
        (
            "Loud = loud:Loud",
            {**LOUD, "loud/__init__.py": "import such_a_module"},
            ValueError,
            r"tokenizer 'Loud' of loud-ids 1.0 can't be loaded \(loud: No module named 'such_a_module'\): repair or",
        ),
        (
            "Loud = loud:Loud",
            LOUD,
            ValueError,
            r"tokenizer 'Loud' of loud-ids 1.0 can't be loaded \(loud: module 'loud' has no attribute 'Loud'\)",
        ),
        (
            "Quiet = loud.inner:Loud",
            {**LOUD, "loud/Quiet.yaml": YAML},
            ValueError,
            "tokenizer 'Quiet' of loud-ids 1.0 is loud.inner:Loud, which is no class named Quiet",
        ),
        (
            "Loud = loud.inner:Loud",
            {**LOUD, "loud/inner.py": "class Loud:\n    pass\n"},
            ValueError,
            "tokenizer 'Loud' of loud-ids 1.0 is neither a SemanticTokenizer nor an AssignedTokenizer",
        ),
        (
            "RQVAE = loud.inner:RQVAE",
            LOUD,
            ValueError,
            "tokenizer 'RQVAE' exists in recbole-unirep or RecBole, and loud-ids adds another",
        ),
    ],
)
def test_the_error_for_a_wrong_entry_point_names_it(install, point, files, error, message):
    install("loud-ids", {"tokenizer": point}, files)
    with pytest.raises(error, match=message):
        tokenizer_class(point.partition(" ")[0])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"loud/__init__.py": "", "loud/inner.py": TOKENIZER},
            "tokenizer 'Loud' of loud-ids 1.0 has no .*Loud.yaml: sh",
        ),
        ({}, "tokenizer 'Loud' of loud-ids 1.0 has no Loud.yaml: ship one beside module loud.inner"),
        ({**LOUD, "loud/Loud.yaml": "a: [1"}, "Loud.yaml is not valid yaml"),
        ({**LOUD, "loud/Loud.yaml": "[1, 2]"}, "Loud.yaml holds no keys: write 'key: value' lines"),
    ],
)
def test_the_error_for_a_wrong_yaml_names_it(install, files, message, tiny, monkeypatch, capsys):
    install("loud-ids", {"tokenizer": "Loud = loud.inner:Loud"}, files)
    keys = ["--model=UniRep", "--dataset=tiny", f"--data_path={tiny.parent}", "--tokenizer=Loud"]
    monkeypatch.setattr("sys.argv", ["shell", *keys])
    assert cli.run_recbole() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("run_recbole: ")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        shipped_defaults("Loud")


def test_the_error_for_a_clash_names_both_packages(install):
    for package in ("loud-ids", "other-ids"):
        install(package, {"tokenizer": "Loud = loud.inner:Loud"}, LOUD)
    with pytest.raises(ValueError, match="'Loud' exists in (loud-ids and other-ids|other-ids and loud-ids): unins"):
        tokenizer_class("Loud")
    assert extension_names("tokenizer") == ["Loud"]


def test_a_package_twice_on_the_path_counts_once(install, tmp_path, monkeypatch):
    install("loud-ids", {"tokenizer": "Loud = loud.inner:Loud"}, LOUD)
    (tmp_path / "site").rename(tmp_path / "first")
    (tmp_path / "site").mkdir()
    install("Loud_IDs", {"tokenizer": "Loud = loud.inner:Loud"}, LOUD)
    monkeypatch.syspath_prepend(tmp_path / "first")
    extensions.extensions.cache_clear()
    assert find_extension("tokenizer", "Loud").distribution == "loud-ids"


TAKEN = {
    "model": "SASRec = loud:SASRec\nUniRep = loud:UniRep",
    "backbone": "GRU4Rec = loud:GRU4Rec\nHSTU = loud:HSTU",
    "text_encoder": "lexical = loud:lexical",
}


@pytest.mark.parametrize(
    ("kind", "name", "asked"),
    [
        ("model", "SASRec", lambda: find_model("SASRec")),
        ("model", "UniRep", lambda: find_model("UniRep")),
        ("backbone", "GRU4Rec", lambda: Config("UniRep", "ml-100k", config_dict={"backbone": "GRU4Rec"})),
        ("backbone", "HSTU", lambda: Config("UniRep", "ml-100k", config_dict={"backbone": "HSTU"})),
        ("backbone", "HSTU", lambda: backbone_class("HSTU")),
        ("text_encoder", "lexical", lambda: encodings({"text_encoder": "lexical", "text_processes": 1})),
    ],
)
def test_the_error_for_a_taken_name_names_the_package(install, kind, name, asked):
    install("loud-ids", {kind: TAKEN[kind]}, {"loud/__init__.py": ""})
    with pytest.raises(ValueError, match=f"{kind} '{name}' exists in recbole-unirep or RecBole, and loud-ids adds"):
        asked()


def test_a_backbone_without_item_size_key_is_refused(install):
    install("loud-ids", {"backbone": "Loud = loud:Loud"}, {"loud/__init__.py": "class Loud:\n    pass\n"})
    with pytest.raises(ValueError, match="backbone 'Loud' of loud-ids 1.0 has no item_size_key: set it to the config"):
        backbone_class("Loud")


def test_errors_suggest_names_of_extensions(install):
    points = {
        "tokenizer": "Loud = loud.inner:Loud",
        "backbone": "LoudRec = loud:LoudRec",
        "model": "LoudRec = loud:LoudRec",
    }
    install("loud-ids", points, {**LOUD, "loud/LoudRec.yaml": YAML})
    for key, wrong, known in (("tokenizer", "Lod", "Loud"), ("backbone", "LoudRek", "LoudRec")):
        with pytest.raises(ValueError, match=f"{key} '{wrong}' is unknown: did you mean '{known}'"):
            Config("UniRep", "ml-100k", config_dict={key: wrong})
    with pytest.raises(ValueError, match="model 'LoudRek' is unknown: did you mean 'LoudRec'"):
        find_model("LoudRek")
    with pytest.raises(ValueError, match="tokenizer=Quiet is unknown: known are .*, Loud, .*"):
        tokenizer_class("Quiet")
    assert backbone_names()[-1] == "LoudRec"


def test_text_encoders_of_other_packages_refuse_several_processes(install):
    install("loud-ids", {"text_encoder": "Loud = loud:Loud"}, {"loud/__init__.py": ""})
    config = {"text_encoder": "Loud", "text_processes": 2}
    with pytest.raises(
        ValueError, match="text_processes=2 is for .* text_encoder 'Loud' of loud-ids 1.0 encodes in one"
    ):
        encodings(config)
