"""A dataset of 60 users and 120 items, and small models on it."""

import random
import tempfile
from contextlib import contextmanager
from pathlib import Path

from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.testing.expectations import expect

SIZES = {  # common keys; a model ignores those that it does not have
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
        folder (Path): folder of all datasets.
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
        **settings: keys of the run, over SIZES.

    Yields:
        dict: keys of a run on the dataset.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder))
        paths = {"dataset": "tiny", "data_path": folder, "text_encoder": "lexical"}
        yield {**SIZES, **paths, "use_gpu": False, "show_progress": False, **settings}


def build(keys):
    """Builds config, data and model, seeded like a run before training.

    Args:
        keys (dict): keys of the run, with `model`.

    Returns:
        tuple[Config, Data, AbstractRecommender]
    """
    config = Config(config_dict=keys)
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, one_row_a_user=trains_rows(config))
    init_seed(config["seed"], config["reproducibility"])
    return config, data, build_model(config, data.train)


def class_of(part, find):
    """Returns the class of a part, given by its name or as a class that can be looked up by its name.

    Args:
        part (str or type): name or class.
        find (callable): name to class.

    Raises:
        AssertionError: the lookup finds another class of that name.
        ValueError: the lookup finds none.
    """
    found = find(part if isinstance(part, str) else part.__name__)
    is_same = isinstance(part, str) or found is part
    expect(is_same, f"{part} is not the class that its name finds, which is {found}: check that one, or rename yours")
    return found
