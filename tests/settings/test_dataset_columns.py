"""Keys of datasets without a yaml, derived from their columns."""

import pytest

from recbole_unirep.config import Config


@pytest.fixture
def shop(tmp_path):
    """Writes a dataset 'shop' with the given columns."""

    def write(inter="user_id:token\titem_id:token\ttimestamp:float", item=None):
        folder = tmp_path / "dataset" / "shop"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "shop.inter").write_text(inter + "\nu1\ti1\t1\n")
        if item:
            (folder / "shop.item").write_text(item + "\n")

    return write


def test_keys_of_a_dataset_without_a_yaml_follow_from_its_columns(shop):
    shop(item="item_id:token\tprice:float\ttitle:token\tshelf:token")
    config = Config("UniRep", "shop")
    assert config["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert config["text_fields"] == ["title", "price"]
    assert config["item_inter_num_interval"] == "[1,inf)"
    note = "no yaml for dataset shop: columns user_id, item_id, timestamp are loaded, no k-core, item text from "
    assert config.notes == [note + "title, price"]
    config = Config("UniRep", "shop", arguments=["--text_fields=[shelf]"])
    assert (config["text_fields"], config.notes) == (["shelf"], [note + "shelf"])


def test_columns_may_have_other_names(shop):
    shop(inter="who:token\twhat:token\twhen:float")
    names = {"USER_ID_FIELD": "who", "ITEM_ID_FIELD": "what", "TIME_FIELD": "when"}
    assert Config("SASRec", "shop", config_dict=names)["load_col"] == {"inter": ["who", "what", "when"]}
    with pytest.raises(ValueError, match="no column 'user_id', only who, what, when: name yours with --USER_ID_FIELD"):
        Config("SASRec", "shop")


FEATURES = "item_id:token\ttitle:token\tbrand:token\tprice:float\tgenres:token_seq"


def test_item_features_follow_from_the_columns(shop):
    shop(item=FEATURES)
    inter = ["user_id", "item_id", "timestamp"]
    for model in ("FDSA", "SASRecF", "GRU4RecF"):
        config = Config(model, "shop")
        assert config["load_col"] == {"inter": inter, "item": ["item_id", "brand", "genres"]}
        assert config["selected_features"] == ["brand", "genres"]
        config = Config(model, "shop", arguments=["--selected_features=[price]"])
        assert config["load_col"] == {"inter": inter, "item": ["item_id", "price"]}
    assert Config("FM", "shop")["load_col"]["item"] == ["item_id", "brand", "genres"]
    assert "item" not in Config("SASRec", "shop")["load_col"]
    config = Config("S3Rec", "shop", arguments=["--item_attribute=genres"])
    assert (config["load_col"]["item"], config["item_attribute"]) == (["item_id", "genres"], "genres")
    assert Config("FDSA", "amazon-beauty", arguments=["--selected_features=[brand]"])["load_col"]["item"] == [
        "item_id",
        "brand",
    ]


@pytest.mark.parametrize(
    ("model", "item", "arguments", "error"),
    [
        (
            "FDSA",
            FEATURES,
            ["--selected_features=[genre]"],
            "shop.item has no item features genre, found item_id, title, bra",
        ),
        ("FDSA", None, [], "selected_features: .*shop.item has no item features at all, found no columns"),
        (
            "S3Rec",
            "item_id:token\ttitle:token",
            [],
            "item_attribute: .*no item features at all, found item_id, title: name",
        ),
    ],
)
def test_missing_item_features_are_an_error(shop, model, item, arguments, error):
    shop(item=item)
    with pytest.raises(ValueError, match=error):
        Config(model, "shop", arguments=arguments)
    assert "item" not in Config("FM", "shop", arguments=[])["load_col"] or item == FEATURES


def test_a_folder_without_interactions_is_an_error(tmp_path):
    (tmp_path / "data" / "amazon-beauty").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="amazon-beauty.inter"):
        Config("UniRep", "amazon-beauty", arguments=["--data_path=data"])


def test_an_unknown_dataset_suggests_a_folder_of_similar_name(shop):
    shop()
    with pytest.raises(ValueError, match="'Shop2' is unknown.*did you mean 'shop'"):
        Config("UniRep", "Shop2")


def test_a_download_without_a_yaml_is_assumed_to_have_the_usual_columns():
    config = Config("SASRec", "amazon-books")
    assert config["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert "amazon-books" in config.notes[0]
