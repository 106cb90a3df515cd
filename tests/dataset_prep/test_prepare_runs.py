"""RecBole and this package read a prepared dataset as intended, with either split."""

import json
import random

import numpy as np
import pandas as pd
import pytest

from dataset_prep.atomic_files import is_missing
from dataset_prep.raw_fields import READ_AS_MISSING
from recbole_unirep.commands.prepare import prepare as prepare_dataset
from recbole_unirep.commands.validate import validate as validate_dataset
from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data

VALID_FROM, TEST_FROM = 1_400_400_000, 1_400_700_000


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    """A prepared dataset `shop`: 2-core, with items and both splits."""
    folder, draw = tmp_path_factory.mktemp("prepared"), random.Random(3)
    reviews = [
        {"reviewerID": f"A{draw.randrange(40)}", "asin": f"B{int(draw.random() ** 2 * 40)}", "overall": 5.0,
         "unixReviewTime": 1_400_000_000 + 1_000 * draw.randrange(1_000)}
        for _ in range(600)
    ]  # fmt: skip
    metadata = [
        {"asin": f"B{n}", "title": f'The "{n}"', "categories": [["Beauty", f"Kind {n % 3}"]]} for n in range(35)
    ]
    for name, records in (("reviews", reviews), ("meta", metadata)):
        (folder / f"{name}.json").write_text("\n".join(map(repr, records)), encoding="utf-8")
    prepare_dataset(
        ["--dataset=shop", f"--data_path={folder}", f"--reviews={folder}/reviews.json", "--core=2",
         f"--metadata={folder}/meta.json", "--split=temporal", f"--valid_from={VALID_FROM}", f"--test_from={TEST_FROM}"]
    )  # fmt: skip
    return folder


def rows(data_path):
    return pd.read_csv(data_path / "shop" / "shop.inter", sep="\t")


def loaded(data_path, model, one_row_a_user, *files):
    config = Config(model, "shop", list(map(str, files)), {"data_path": str(data_path)})
    return load_data(config, one_row_a_user=one_row_a_user)


def test_leave_one_out_takes_each_users_last_interaction(data_path):
    data, table = loaded(data_path, "SASRec", True), rows(data_path)
    counts = json.loads((data_path / "shop" / "shop.manifest.json").read_text(encoding="utf-8"))["counts"]
    train = data.train
    assert (train.user_num - 1, train.item_num - 1) == (counts["users"], counts["items"])
    assert counts["interactions"] == len(table)
    last = table.groupby("user_id:token", sort=False)["item_id:token"].last().to_dict()
    test = data.test.interactions
    users, items = (
        train.id2token(field, test[field].numpy()) for field in ("user_id", "item_id")
    )  # fmt: skip
    assert len(users) > 30
    assert all(last[user] == item for user, item in zip(users, items))


@pytest.mark.parametrize(
    ("model", "one_row_a_user", "suffix"),
    [("SASRec", True, "temporal"), ("SASRec", False, "temporal"), ("BPR", False, "temporal.general")],
)
def test_the_temporal_split_cuts_at_its_borders(data_path, model, one_row_a_user, suffix):
    data = loaded(data_path, model, one_row_a_user, data_path / "shop" / f"shop.{suffix}.yaml")
    times = [
        part.inter_feat["timestamp"].double().numpy() for part in (data.train, data.valid.dataset, data.test.dataset)
    ]
    assert times[0].max() < VALID_FROM <= times[1].min()
    assert times[1].max() < TEST_FROM <= times[2].min()
    table = rows(data_path)
    if model == "SASRec":  # no row for a user's first interaction
        table = table[table.duplicated("user_id:token")]
    borders = [table["timestamp:float"] < VALID_FROM, table["timestamp:float"] >= TEST_FROM]
    assert [len(part) for part in times] == [
        borders[0].sum(), len(table) - borders[0].sum() - borders[1].sum(), borders[1].sum()
    ]  # fmt: skip


def test_it_is_valid_and_stock_recbole_reads_its_tokens_back(data_path, capsys):
    assert validate_dataset(["shop", f"--data_path={data_path}"])
    assert "error" not in capsys.readouterr().out
    for kind in ("inter", "item"):  # as RecBole reads them
        table = pd.read_csv(data_path / "shop" / f"shop.{kind}", delimiter="\t", engine="python")
        assert not table["item_id:token"].isna().any()
        assert all(str(token).startswith("B") for token in table["item_id:token"])
    title = table.set_index("item_id:token")["title:token"]["B3"]
    assert title == 'The "3"'


def test_the_words_we_refuse_are_those_that_pandas_reads_as_missing(tmp_path):
    words = [*sorted(READ_AS_MISSING), "na", "Null", "none", "0", "-", "NaT", "inf"]
    (tmp_path / "words.tsv").write_text("word\tend\n" + "".join(f"{word}\tx\n" for word in words), encoding="utf-8")
    read = pd.read_csv(tmp_path / "words.tsv", delimiter="\t", dtype=str, engine="python")["word"]
    assert np.array_equal(read.isna(), [is_missing(word) for word in words])
