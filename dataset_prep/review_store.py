"""review_store: removes duplicates, applies the k-core, sorts by time and writes the `.inter` file.

Users and items become numbers first, and all later steps work on numbers. The interactions are in a database on disk
and need not fit into memory.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dataset_prep.raw_fields import ITEM, RATING, TIME, USER
from dataset_prep.spilling import SpillingDatabase

logger = logging.getLogger()

DUPLICATES = {"first": "ASC", "last": "DESC", "all": None}
PAIRS_AT_ONCE = 4_000_000  # rows per batch in the search for duplicates


class Counts(NamedTuple):
    """Size of a dataset.

    Attributes:
        interactions (int): rows of the `.inter` file.
        users (int): users with an interaction.
        items (int): items with an interaction.
        first_time (int or None): time of the earliest interaction.
        last_time (int or None): time of the latest one.
    """

    interactions: int
    users: int
    items: int
    first_time: int | None
    last_time: int | None


class ReviewStore:
    """Interactions in a database, appended in the order of the raw files.

    Args:
        database (SpillingDatabase): may hold tables of other names too.
    """

    def __init__(self, database: SpillingDatabase) -> None:
        self.database, self.n_rows = database, 0
        database.run("CREATE TABLE reviews (user_id VARCHAR, item_id VARCHAR, rating DOUBLE, time BIGINT, line BIGINT)")

    def append(self, users: Sequence[str], items: Sequence[str], ratings: Sequence[float], times: Sequence[int]):
        """Adds interactions in the file's order; `times` or `ratings` is empty if the file has none."""
        lines = list(range(self.n_rows, self.n_rows + len(users)))
        columns = {"user_id": users, "item_id": items, "line": lines, "time": times or lines}
        if ratings:
            columns["rating"] = ratings
        self.database.append("reviews", columns)
        self.n_rows += len(users)

    def number(self, user_core: int, item_core: int) -> None:
        """Ends appending: numbers users and items, and drops those with fewer rows than the core requires."""
        run = self.database.run
        for table, side, core in (("users", "user_id", user_core), ("items", "item_id", item_core)):
            run(
                f"CREATE TABLE {table} AS SELECT token, (row_number() OVER ())::INTEGER AS id "
                f"FROM (SELECT {side} AS token FROM reviews GROUP BY {side} HAVING count(*) >= {core})"
            )
        run(
            "CREATE TABLE kept AS SELECT users.id AS user_id, items.id AS item_id, rating, time, line "
            "FROM reviews JOIN users ON user_id = users.token JOIN items ON item_id = items.token"
        )
        run("DROP TABLE reviews")

    def drop_duplicates(self, which: str) -> int:
        """Keeps one interaction per user and item.

        Args:
            which (str): 'first' or 'last' by time, then by line; 'all' keeps all.

        Returns:
            int: number of interactions dropped.
        """
        direction, run, row = DUPLICATES[which], self.database.run, self.database.row
        if direction is None:
            return 0
        n_rows = row("SELECT count(*) FROM kept")[0]
        n_parts = n_rows // PAIRS_AT_ONCE + 1
        run("CREATE TABLE again (line BIGINT)")
        for part in range(n_parts):
            run(
                f"INSERT INTO again SELECT line FROM kept JOIN (SELECT user_id, item_id FROM kept "
                f"WHERE user_id % {n_parts} = {part} GROUP BY ALL HAVING count(*) > 1) pairs USING (user_id, item_id) "
                f"QUALIFY row_number() OVER "
                f"(PARTITION BY user_id, item_id ORDER BY time {direction}, line {direction}) > 1"
            )
        n_dropped = row("SELECT count(*) FROM again")[0]
        if n_dropped:
            self._replace_kept("kept ANTI JOIN again USING (line)")
        run("DROP TABLE again")
        return n_dropped

    def keep_core(self, user_core: int, item_core: int) -> int:
        """Drops users and items with too few interactions until every one has enough.

        The result does not depend on the order in which they are dropped.

        Args:
            user_core (int): minimum number of interactions per user.
            item_core (int): minimum number of interactions per item.

        Returns:
            int: number of rounds that dropped interactions.
        """
        n_rounds, sides = 0, (("user_id", user_core), ("item_id", item_core))
        while True:
            n_weak = 0
            for side, core in sides:
                self.database.run(
                    f"CREATE OR REPLACE TABLE weak AS SELECT {side} FROM kept GROUP BY {side} HAVING count(*) < {core}"
                )
                n_found = self.database.row("SELECT count(*) FROM weak")[0]
                if n_found:
                    self._replace_kept(f"kept ANTI JOIN weak USING ({side})")
                n_weak += n_found
            if not n_weak:
                return n_rounds
            n_rounds += 1
            logger.info(f"round {n_rounds:,}: {n_weak:,} users and items dropped")

    def finish(self) -> Counts:
        """Ends filtering: writes the tokens of the remaining items to the table `kept_items`.

        Returns:
            Counts: size of the remaining data.
        """
        self.database.run(
            "CREATE TABLE kept_items AS SELECT token AS item FROM items SEMI JOIN kept ON items.id = kept.item_id"
        )
        counts = self.database.row(
            "SELECT count(*), count(DISTINCT user_id), count(DISTINCT item_id), min(time), max(time) FROM kept"
        )
        return Counts(*counts)

    def rows_by_period(self, valid_from: int, test_from: int) -> dict[str, list[int]]:
        """Counts the interactions for training, validation and test.

        Args:
            valid_from (int): time of the first interaction for validation.
            test_from (int): time of the first interaction for test.

        Returns:
            dict: 'all' counts every interaction, 'targets' those that are not a user's first.
        """
        periods = (f"time < {valid_from}", f"time >= {valid_from} AND time < {test_from}", f"time >= {test_from}")
        counted = ", ".join(f"count(*) FILTER ({period})" for period in periods)
        everything = self.database.row(f"SELECT {counted} FROM kept")
        first = self.database.row(f"SELECT {counted} FROM (SELECT min(time) AS time FROM kept GROUP BY user_id)")
        return {"all": list(everything), "targets": [n - n_first for n, n_first in zip(everything, first)]}

    def write(self, file: Path, has_rating: bool, has_time: bool) -> None:
        """Writes the `.inter` file sorted by time; simultaneous interactions keep the order of the raw files.

        Args:
            file (Path): the file.
            has_rating (bool): whether to write a column of ratings.
            has_time (bool): whether to write a column of times.
        """
        columns = [f'users.token AS "{USER}:token"', f'items.token AS "{ITEM}:token"']
        columns += [f'rating AS "{RATING}:float"'] * has_rating + [f'time AS "{TIME}:float"'] * has_time
        self.database.export(
            f"SELECT {', '.join(columns)} FROM kept JOIN users ON user_id = users.id "
            f"JOIN items ON item_id = items.id ORDER BY time, line",
            file,
        )

    def _replace_kept(self, source):
        self.database.run(f"CREATE TABLE next AS SELECT kept.* FROM {source}")
        self.database.run("DROP TABLE kept")
        self.database.run("ALTER TABLE next RENAME TO kept")
