"""temporal_split: settings with which RecBole splits at the same points in time for all users.

The dataset remains one `.inter` file. Files per split would need the earlier items in every row for sequential models,
and would rule out any other split. RecBole's split by ratios over all rows sorted by time cuts at the right rows if
the ratios are the numbers of rows. Sequential models have no row for a user's first interaction, so their numbers
differ.

RecBole sorts all rows by time as float32. Present-day times are then about two minutes apart, whether they are in
seconds, milliseconds or microseconds. The order within a user stays exact.
"""

from typing import NamedTuple

PARTS = ("training", "validation", "test")
KINDS = {  # suffix of the file -> which rows are counted, for which models
    "temporal": ("targets", "sequential models"),
    "temporal.general": ("all", "models that read no sequences"),
}


class Period(NamedTuple):
    """The borders of a temporal split, in the data's unit of time.

    Attributes:
        valid_from (int): time of the first interaction for validation.
        test_from (int): time of the first interaction for test.
    """

    valid_from: int
    test_from: int

    def settings(self) -> dict:
        """The borders as the manifest holds them."""
        return {"temporal": self._asdict()}


def split_files(name: str, period: Period, rows: dict[str, list[int]]) -> dict[str, str]:
    """YAML files that set the temporal split, for `--config_files`.

    Args:
        name (str): name of the dataset.
        period (Period): the borders.
        rows (dict): 'all' and 'targets', each with the numbers of rows for training, validation and test.

    Returns:
        dict: file name to text.

    Raises:
        ValueError: training, validation or test has no rows.
    """
    texts = {}
    for suffix, (counted, whom) in KINDS.items():
        n_rows = rows[counted]
        if 0 in n_rows:
            raise ValueError(
                f"split=temporal with valid_from={period.valid_from} and test_from={period.test_from} leaves no rows "
                f"for {PARTS[n_rows.index(0)]} of {whom}: move the borders"
            )
        n_train, n_valid, n_test = n_rows
        texts[f"{name}.{suffix}.yaml"] = (
            f"# run_recbole --model=MODEL --dataset={name} --data_path=FOLDER "
            f"--config_files=FOLDER/{name}/{name}.{suffix}.yaml\n"
            f"# For {whom}: {n_train} rows before {period.valid_from} train, {n_valid} validate, {n_test} from "
            f"{period.test_from} on test.\n"
            f"# The ratios are these numbers; RecBole rounds down, hence the fractions. Further filters shift them.\n"
            f"# RecBole compares times as float32: rows within two minutes of a border may stand on its other side.\n"
            f"eval_args:\n"
            f"  split: {{'RS': [{n_train - 1}.5, {n_valid}.25, {n_test}.25]}}\n"
            f"  group_by: ~\n"
            f"  order: TO\n"
            f"  mode: full\n"
        )
    return texts
