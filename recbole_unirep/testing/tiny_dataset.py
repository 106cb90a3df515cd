"""A dataset of 60 users and 120 items, and models over it of small sizes."""

import random
import tempfile
from contextlib import contextmanager
from pathlib import Path

from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.testing.expectations import expect

SIZES = {  # RecBole's and our usual keys; those that a model does not have are left alone
    "hidden_size": 16,
    "inner_size": 16,
    "embedding_size": 16,
    "users_per_batch": 32,
    "train_batch_size": 64,
    "eval_batch_size": 25,
    "MAX_ITEM_LIST_LENGTH": 6,
    "lexical_dim": 12,
}
KINDS = ("shampoo", "perfume", "lipstick", "soap", "brush")


def write_dataset(folder):
    """Writes the atomic files of dataset `tiny`.

    Args:
        folder (Path): of all datasets.
    """
    draw = random.Random(0)
    (folder / "tiny").mkdir(parents=True)
    interactions = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(60):
        items = draw.sample(range(120), draw.randint(5, 9))
        for day, item in enumerate(items):
            interactions.append(f"u{user}\ti{item}\t{1 + (user + item) % 5}\t{1_300_000_000 + 86_400 * day}")
    rows = ["item_id:token\ttitle:token\tbrand:token\tcategories:token_seq\tprice:float"]
    for item in range(119):
        kind = draw.choice(KINDS)
        rows.append(f"i{item}\t{kind} number {item % 7}\tbrand{item % 3}\t'Beauty', '{kind}'\t{item % 13}.5")
    rows.append("i119\t\t\t\t")  # an item without text
    for name, lines in (("inter", interactions), ("item", rows)):
        (folder / "tiny" / f"tiny.{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def tiny_dataset(**settings):
    """The dataset in a temporary folder.

    Args:
        **settings: keys that differ from SIZES, or more of them.

    Yields:
        dict: keys of a run over it.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder))
        paths = {"dataset": "tiny", "data_path": folder, "text_encoder": "lexical"}
        yield {**SIZES, **paths, "use_gpu": False, "show_progress": False, **settings}


def build(keys):
    """Config, data and model, seeded, as a run has them before it trains.

    Args:
        keys (dict): of the run, `model` among them.

    Returns:
        tuple[Config, Data, AbstractRecommender]
    """
    config = Config(config_dict=keys)
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, one_row_a_user=trains_rows(config))
    init_seed(config["seed"], config["reproducibility"])
    return config, data, build_model(config, data.train)


def class_of(part, find):
    """The class of a part that was named, or given as a class that is known by its name.

    Args:
        part (str or type): what a check was asked for.
        find (callable): name to class.

    Raises:
        AssertionError: another class is known by the name of the given one.
        ValueError: none is.
    """
    found = find(part if isinstance(part, str) else part.__name__)
    is_same = isinstance(part, str) or found is part
    expect(is_same, f"{part} is not what its name stands for, {found} is: check that one, or rename it")
    return found
