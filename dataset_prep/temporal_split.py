"""temporal_split: one border in time for all users, as settings for RecBole.

A dataset stays one `.inter` file: files of splits would need a list of earlier items in every row for sequential
models, and could not be split in another way. RecBole's split by ratios over all rows in order of time cuts where we
want it to, if the ratios are the numbers of rows; sequential models have no row for a user's first interaction, so they
have numbers of their own.

RecBole orders all rows by times in float32, whose steps are about two minutes today in seconds, milliseconds and
microseconds alike; a user's own order stays exact.
"""

from typing import NamedTuple

PARTS = ("training", "validation", "test")
KINDS = {  # suffix of the file -> rows that are counted, for whom
    "temporal": ("targets", "sequential models"),
    "temporal.general": ("all", "models that read no sequences"),
}


class Period(NamedTuple):
    """The borders.

    Attributes:
        valid_from (int): time, in the unit of the data, from which interactions validate.
        test_from (int): time from which they test.
    """

    valid_from: int
    test_from: int

    def settings(self) -> dict:
        """As the manifest has it."""
        return {"temporal": self._asdict()}


def split_files(name: str, period: Period, rows: dict[str, list[int]]) -> dict[str, str]:
    """The settings of a temporal split, for `--config_files`.

    Args:
        name (str): the dataset's name.
        period (Period): its borders.
        rows (dict): under 'all' and 'targets' the numbers of rows in training, validation and test.

    Returns:
        dict: name of each file and its text.

    Raises:
        ValueError: a part has no rows.
    """
    texts = {}
    for suffix, (counted, whom) in KINDS.items():
        n_rows = rows[counted]
        if 0 in n_rows:
            raise ValueError(
                f"split=temporal with valid_from={period.valid_from} and test_from={period.test_from} leaves no rows "
                f"to {PARTS[n_rows.index(0)]} for {whom}: move the borders"
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
