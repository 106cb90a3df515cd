"""review_store: interactions of any number: duplicates, k-core, order in time, the `.inter` file.

Users and items become numbers first, so that everything after it counts numbers; nothing here holds all interactions in
memory.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from dataset_prep.raw_fields import ITEM, RATING, TIME, USER
from dataset_prep.spilling import SpillingDatabase

logger = logging.getLogger()

DUPLICATES = {"first": "ASC", "last": "DESC", "all": None}
PAIRS_AT_ONCE = 4_000_000  # whose duplicates are looked for in one go


class Counts(NamedTuple):
    """Size of a dataset.

    Attributes:
        interactions (int): rows of the `.inter` file.
        users (int): users with one.
        items (int): items with one.
        first_time (int or None): of the earliest interaction.
        last_time (int or None): of the latest one.
    """

    interactions: int
    users: int
    items: int
    first_time: Optional[int]
    last_time: Optional[int]


class ReviewStore:
    """Interactions in a database, appended in the order of the raw files.

    Args:
        database (SpillingDatabase): for this store; one with tables of other names may share it.
    """

    def __init__(self, database: SpillingDatabase) -> None:
        self.database, self.n_rows = database, 0
        database.run("CREATE TABLE reviews (user_id VARCHAR, item_id VARCHAR, rating DOUBLE, time BIGINT, line BIGINT)")

    def append(self, users: Sequence[str], items: Sequence[str], ratings: Sequence[float], times: Sequence[int]):
        """Adds interactions, in the order of the file; `times` is empty where there are none."""
        lines = list(range(self.n_rows, self.n_rows + len(users)))
        columns = {"user_id": users, "item_id": items, "line": lines, "time": times or lines}
        if ratings:
            columns["rating"] = ratings
        self.database.append("reviews", columns)
        self.n_rows += len(users)

    def number(self, user_core: int, item_core: int) -> None:
        """Ends the appending: users and items become numbers; those with fewer rows than the core asks for are gone."""
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
        """Keeps one interaction of each user with an item.

        Args:
            which (str): 'first' or 'last' in order of time, of simultaneous ones by line; 'all' keeps all.

        Returns:
            int: interactions dropped.
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
        """Drops users and items with too few interactions until none is left with too few.

        The largest such part of the data is one, in whatever order they are dropped.

        Args:
            user_core (int): interactions that a user must have.
            item_core (int): interactions that an item must have.

        Returns:
            int: rounds in which some were dropped.
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
        """Ends the filtering: the items that are left, with their tokens, are the table `kept_items`.

        Returns:
            Counts: of what is left.
        """
        self.database.run(
            "CREATE TABLE kept_items AS SELECT token AS item FROM items SEMI JOIN kept ON items.id = kept.item_id"
        )
        counts = self.database.row(
            "SELECT count(*), count(DISTINCT user_id), count(DISTINCT item_id), min(time), max(time) FROM kept"
        )
        return Counts(*counts)

    def rows_by_period(self, valid_from: int, test_from: int) -> dict[str, list[int]]:
        """Interactions before validation, in it and in the test.

        Args:
            valid_from (int): time from which interactions validate.
            test_from (int): time from which interactions test.

        Returns:
            dict: under 'all' all of them, under 'targets' those that are not a user's first one.
        """
        periods = (f"time < {valid_from}", f"time >= {valid_from} AND time < {test_from}", f"time >= {test_from}")
        counted = ", ".join(f"count(*) FILTER ({period})" for period in periods)
        everything = self.database.row(f"SELECT {counted} FROM kept")
        first = self.database.row(f"SELECT {counted} FROM (SELECT min(time) AS time FROM kept GROUP BY user_id)")
        return {"all": list(everything), "targets": [n - n_first for n, n_first in zip(everything, first)]}

    def write(self, file: Path, has_rating: bool, has_time: bool) -> None:
        """Writes the `.inter` file in order of time, simultaneous interactions in the order of the raw files.

        Args:
            file (Path): the file.
            has_rating (bool): whether it has a column of ratings.
            has_time (bool): whether it has a column of times.
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
