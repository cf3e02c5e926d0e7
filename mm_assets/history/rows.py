"""The rows of `lineage.lance`: append only, one for every materialization, expiry or piece of maintenance."""

from typing import Any

import lance
import pyarrow as pa

from mm_assets.catalog import TABLES
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import key_field, since
from mm_assets.engines.lake.rows import replace_rows, rows_by_key
from mm_assets.engines.lake.schemas import bring_up, filled
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.lineage.properties import RUN, STEP

TABLE = "lineage"
# All tables of a lake, in the order in which data flows. The history is last: every step writes it.
ALL_TABLES = (*TABLES, TABLE)
# Kinds of rows. The words are stored in every lake, and an expiry has had this one since the first release.
MATERIALIZATION, EXPIRY, MAINTENANCE = "materialization", "withdrawal", "maintenance"

SCHEMA = pa.schema(
    [
        key_field("id"),
        pa.field("asset", pa.string()),  # null for maintenance, which belongs to a table
        pa.field("data_version", pa.string()),
        pa.field("uri", pa.string()),  # relative to the lake, which can be moved
        pa.field("table", pa.string()),
        pa.field("table_id", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("run_id", pa.string()),
        pa.field("step", pa.string()),
        pa.field("code_version", pa.string()),
        pa.field(
            "inputs",
            pa.list_(pa.struct([(name, pa.string()) for name in ("asset", "data_version", "record_id")])),
        ),
        pa.field("metadata", pa.string()),
        pa.field("watermarks", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("reused", pa.bool_()),
        since(2, pa.field("kind", pa.string())),  # null: a materialization
    ]
)

Row = dict[str, Any]


def append_rows(tables: Lake, rows: list[Row]) -> None:
    """Add rows of one run in one commit; rows that another process has added already are left out."""
    if not rows:
        return
    properties = {RUN: rows[0]["run_id"], STEP: rows[0]["step"]}
    tables.open_or_create(TABLE, SCHEMA, properties)
    # No row records this commit: such a row would need the new columns itself. The commit's properties suffice.
    commit(tables, TABLE, lambda head: bring_up(head, SCHEMA), properties)

    def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        existing = set(rows_by_key(head, "id", [row["id"] for row in rows])["id"].to_pylist())
        new = [row for row in rows if row["id"] not in existing]
        if not new:
            return None
        added = pa.Table.from_pylist(new, schema=pa.schema(list(head.schema)))
        return replace_rows(head, "id", [], write_fragments(tables, TABLE, added))

    commit(tables, TABLE, put, properties)


def missing_ids(tables: Lake, ids: list[str]) -> set[str]:
    """The ids that no row has."""
    if not ids or not tables.exists(TABLE):
        return set(ids)
    return set(ids) - set(rows_by_key(tables.open(TABLE), "id", ids)["id"].to_pylist())


def read_rows(tables: Lake) -> list[Row]:
    """All rows in the order in which they were added. Row ids keep that order; a compaction may not."""
    return rows_of(tables.open(TABLE)) if tables.exists(TABLE) else []


def rows_of(ds: lance.LanceDataset) -> list[Row]:
    """All rows of an opened version of the history, in the order in which they were added."""
    return filled(ds.scanner(with_row_id=True).to_table().sort_by("_rowid"), SCHEMA).to_pylist()
