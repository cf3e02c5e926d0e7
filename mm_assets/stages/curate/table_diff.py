"""Brings `sft.lance` up to new rows: what differs is written as fragments, piece by piece, for one commit."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.changes import difference
from mm_assets.engines.lake.rows import replace_rows, rows_by_id
from mm_assets.engines.lake.schemas import as_stored
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.history.opening import open_table
from mm_assets.lineage.step import StepContext
from mm_assets.stages.curate.summary import COUNTED, can_learn
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA

if TYPE_CHECKING:
    import lance

KEY = "example_id"
# The columns that `placed` reads.
PLACED = ["split", "group_id", "images"]
# Rows that wait in memory to be written, at most.
MOST_WAITING = 50_000


def placed(rows: pa.Table) -> pa.Table:
    """Where each example stands: `split`, `group_id`, and the `image_id` and `sha256` of its one image."""
    examples = rows.filter(pc.is_valid(rows["split"]))
    images = pc.list_element(examples["images"], 0)
    placed_rows = examples.select(["split", "group_id"])
    for name in ("image_id", "sha256"):
        placed_rows = placed_rows.append_column(name, pc.struct_field(images, name))
    return placed_rows


class TableDiff:
    """The difference between the table at one version and the rows that it should have.

    Args:
        step: its commit creates the table where there is none.
        lake: read and written.
        whole: whether rows that are not added (see `add`) are removed.
    """

    def __init__(self, step: StepContext, lake: Lake, *, whole: bool) -> None:
        self._step, self._lake = step, lake
        self._ds = lake.open(SFT) if lake.exists(SFT) else None
        self.version = 0 if self._ds is None else self._ds.version
        columns = [KEY, *COUNTED]
        empty = pa.schema(
            [*(SFT_SCHEMA.field(name) for name in columns), pa.field("_rowid", pa.uint64())]
        ).empty_table()
        self._before = empty if self._ds is None else self._ds.scanner(columns=columns, with_row_id=True).to_table()
        self._stays = np.full(self._before.num_rows, not whole)
        self._written: list[pa.Table] = []
        self._placed: list[pa.Table] = []
        self._waiting = [SFT_SCHEMA.empty_table()]
        self._fragments: list[lance.FragmentMetadata] = []

    def places(self, keys: pa.ChunkedArray) -> pa.ChunkedArray:
        """Where the keys stand in the table; null for those that it has not."""
        return pc.index_in(keys, self._before[KEY])

    def remove(self, places: pa.ChunkedArray) -> None:
        """Remove rows of the table."""
        self._stays[places.drop_null().to_numpy()] = False

    def add(self, rows: pa.Table, places: pa.ChunkedArray) -> None:
        """Add rows that the table should have; those that differ from the table are written.

        Args:
            rows: in the schema of the table.
            places: the position of each in the table now; null for a new one.
        """
        existing = places.drop_null()
        changed, _ = difference(self._rows(existing), rows, KEY)
        written = pc.is_in(rows[KEY], pa.array(changed, pa.string()))
        self._stays[existing.to_numpy()] = True
        self._stays[places.filter(written).drop_null().to_numpy()] = False
        new = rows.filter(written)
        self._written.append(new.select([KEY, *COUNTED]))
        self._placed.append(placed(new))
        self._waiting.append(new)
        # The table is created only when it will hold something to learn.
        many = sum(table.num_rows for table in self._waiting) >= MOST_WAITING
        if many and (self._ds is not None or can_learn(self.counted)):
            self._write()

    def _rows(self, places: pa.ChunkedArray) -> pa.Table:
        if self._ds is None or not len(places):
            return SFT_SCHEMA.empty_table()
        return rows_by_id(self._ds, self._before["_rowid"].take(places), SFT_SCHEMA.names).select(SFT_SCHEMA.names)

    def _write(self) -> None:
        if self._ds is None:
            # An empty table is no version of the asset: the checks may still stop the step.
            self._ds = open_table(self._lake, self._step, SFT, SFT_SCHEMA)
        rows = pa.concat_tables(self._waiting)
        self._waiting = [rows.slice(0, 0)]
        if rows.num_rows:
            self._fragments += write_fragments(self._lake, SFT, as_stored(rows, self._ds))

    def finish(self) -> None:
        """Write the rows that still wait."""
        self._write()

    @property
    def counted(self) -> pa.Table:
        """The `COUNTED` columns of all rows that the table will have, so far."""
        stays = self._before.filter(pa.array(self._stays))
        return pa.concat_tables([stays.select(COUNTED), *(table.select(COUNTED) for table in self._written)])

    @property
    def examples(self) -> pa.Table:
        """`placed` of all rows that the table will have; it is read anew each time, because digests take memory."""
        tables = [placed(SFT_SCHEMA.empty_table()), *self._placed]
        start = 0
        for batch in () if self._ds is None else self._ds.scanner(columns=PLACED).to_batches():
            stays = pa.array(self._stays[start : start + batch.num_rows])
            tables.append(placed(pa.Table.from_batches([batch]).filter(stays)))
            start += batch.num_rows
        return pa.concat_tables(tables)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows are computed, reused and removed."""
        keys = pa.chunked_array([chunk for table in self._written for chunk in table[KEY].chunks], pa.string())
        removed = self._removed_keys
        replaced = pc.sum(pc.is_in(removed, keys)).as_py() or 0
        return {
            "rows_computed": len(keys),
            "rows_reused": int(self._stays.sum()),
            "rows_removed": len(removed) - replaced,
        }

    @property
    def _removed_keys(self) -> pa.ChunkedArray:
        return self._before[KEY].filter(pa.array(~self._stays))

    def operation(self, ds: "lance.LanceDataset") -> "lance.LanceOperation.BaseOperation | None":
        """The commit's operation: remove and replace rows, and add new ones; None where nothing differs."""
        return replace_rows(ds, KEY, self._removed_keys.to_pylist(), self._fragments)
