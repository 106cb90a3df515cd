"""item_store: metadata of the kept items, and the `.item` file with one row per kept item.

An item without metadata gets a row too, because RecBole drops the interactions of items without one.
"""

from collections.abc import Sequence
from pathlib import Path

from dataset_prep.raw_fields import ITEM, ItemColumn
from dataset_prep.spilling import SpillingDatabase


class ItemStore:
    """Metadata of items, in the database that holds the table `kept_items`.

    Args:
        database (SpillingDatabase): the one of the interactions.
        columns (sequence of ItemColumn): the item column first.
    """

    def __init__(self, database: SpillingDatabase, columns: Sequence[ItemColumn]) -> None:
        self.database, self.columns, self.n_rows = database, columns, 0
        self.names = [f"column_{number}" for number in range(len(columns) - 1)]
        cells = "".join(f"{name} VARCHAR, " for name in self.names)
        database.run(f"CREATE TABLE metadata ({cells}item VARCHAR, line BIGINT)")

    def append(self, rows: Sequence[Sequence]) -> None:
        """Adds rows of cells, the item's cell first; rows of items that are not kept are dropped."""
        cells = list(zip(*rows))
        block = {"item": cells[0], "line": list(range(self.n_rows, self.n_rows + len(rows)))}
        block.update(zip(self.names, cells[1:]))
        self.database.append("metadata", block, "SEMI JOIN kept_items ON block.item = kept_items.item")
        self.n_rows += len(rows)

    def write(self, file: Path) -> int:
        """Writes the `.item` file, sorted by item token. Of several rows of an item the first is used.

        Args:
            file (Path): the file.

        Returns:
            int: number of items without metadata.
        """
        self.database.run("CREATE TABLE first_lines AS SELECT min(line) AS line FROM metadata GROUP BY item")
        n_missing = self.database.row("SELECT count(*) FROM kept_items ANTI JOIN metadata USING (item)")[0]
        columns = [f'kept_items.item AS "{ITEM}:token"']
        columns += [f'{name} AS "{column.name}:{column.type}"' for name, column in zip(self.names, self.columns[1:])]
        self.database.export(
            f"SELECT {', '.join(columns)} FROM kept_items LEFT JOIN "
            f"(SELECT * FROM metadata SEMI JOIN first_lines USING (line)) described "
            f"ON kept_items.item = described.item ORDER BY kept_items.item",
            file,
        )
        return n_missing
