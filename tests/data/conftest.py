"""Fixtures that write small datasets and configure models on them."""

import pytest

from recbole_unirep.config import Config


@pytest.fixture
def write(tmp_path):
    """Writes atomic files of a dataset named 'made' from rows and headers; a header is `name:type` words."""

    def write_files(header, rows, item_header=None, item_rows=()):
        folder = tmp_path / "data" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, words, lines in (("inter", header, rows), ("item", item_header, item_rows)):
            if words is not None:
                text = "\n".join("\t".join(map(str, line)) for line in (words.split(), *lines))
                (folder / f"made.{suffix}").write_text(text + "\n", encoding="utf-8")

    return write_files


@pytest.fixture
def configure(tmp_path):
    """Makes the config of a model on the dataset that `write` wrote."""

    def make_config(model, **keys):
        return Config(model, "made", config_dict={"data_path": str(tmp_path / "data"), **keys})

    return make_config
