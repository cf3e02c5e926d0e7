"""Which rows stand in the same files as before."""

import pyarrow as pa

from mm_assets.engines.lake.cells import add_columns, write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.untouched import untouched

SCHEMA = pa.schema([key_field("id"), pa.field("a", pa.int64())])
WIDER = pa.field("b", pa.int64())


def put(tables: Lake, *keys: str, drop: tuple[str, ...] = ()) -> None:
    rows = pa.table({"id": list(keys), "a": [0] * len(keys)}, schema=SCHEMA)
    commit(tables, "t", lambda ds: replace_rows(ds, "id", drop, write_fragments(tables, "t", rows) if keys else []), {})


def cells(tables: Lake, column: str, *keys: str) -> None:
    rows = tables.open("t").scanner(columns=["id"], with_row_id=True).to_table()
    chosen = rows.filter(pa.array([key in keys for key in rows["id"].to_pylist()]))
    values = chosen.drop_columns(["id"]).append_column(column, pa.array([7] * chosen.num_rows, pa.int64()))
    commit(tables, "t", lambda ds: write_cells(ds, values), {})


def same(tables: Lake, since: int, *columns: str) -> str:
    ds = tables.open("t")
    rows = ds.scanner(columns=["id"], with_row_id=True).to_table().to_pylist()
    found = untouched(tables.open("t", since), ds, columns).tolist()
    return "".join(row["id"] for row in rows if row["_rowid"] in found)


def test_rows_in_the_same_files_are_untouched(tables: Lake) -> None:
    tables.open_or_create("t", SCHEMA, {})
    put(tables, "x", "y")
    put(tables, "z")
    since = tables.open("t").version
    assert same(tables, since, "a", "b") == "xyz"
    commit(tables, "t", lambda ds: add_columns(ds, [WIDER]), {})
    cells(tables, "b", "x")
    assert (same(tables, since, "id", "a"), same(tables, since, "a", "b")) == ("xyz", "z")
    cells(tables, "a", "z")
    assert (same(tables, since, "id"), same(tables, since, "a")) == ("xyz", "xy")
    put(tables, "z", "new", drop=("x", "z"))
    assert same(tables, since, "id") == "y"
    tables.open("t").optimize.compact_files()
    assert same(tables, since, "id") == ""
