"""Defaults that --help shows are those of the yaml files."""

import pytest
import yaml

from recbole_unirep.settings.key_lines import all_key_lines, general_key_lines, key_lines
from recbole_unirep.settings.shipped import shipped_file

FILES = [shipped_file("overall.yaml"), *shipped_file("model").glob("*.yaml"), *shipped_file("tokenizer").glob("*.yaml")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_lines_hold_what_yaml_reads(file):
    keys, lines = yaml.safe_load(file.read_text(encoding="utf-8")), key_lines(file)
    assert keys.keys() == lines.keys()
    for key, line in lines.items():
        if line.default:  # else it takes several lines
            assert yaml.safe_load(line.default) == keys[key], key
        assert line.type and line.description


def test_our_lines_are_over_recboles():
    lines = general_key_lines()
    assert lines["eval_batch_size"].default == "512"  # RecBole's is 4096
    assert (lines["epochs"].default, lines["data_path"].default) == ("300", "'dataset/'")
    assert {"epochs", "semantic_ids", "codebook_size"} <= all_key_lines().keys()


def test_a_missing_file_has_no_keys(tmp_path):
    assert key_lines(tmp_path / "gone.yaml") == {}
