"""Differences: between a table and the rows that it should have, and between two of its versions."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from mm_assets.engines.lake.cells import add_columns, write_cells
from mm_assets.engines.lake.changes import Changes, Synced, changes_since, difference, sync_rows
from mm_assets.engines.lake.commits import commit, commits_after, properties_of
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments

SCHEMA = pa.schema([key_field("id"), pa.field("value", pa.int64()), pa.field("tags", pa.list_(pa.string()))])


@pytest.fixture
def tables(anywhere: Lake) -> Lake:
    return anywhere


def rows(**values: int | None) -> pa.Table:
    items = [{"id": key, "value": value, "tags": [key]} for key, value in values.items()]
    return pa.Table.from_pylist(items, schema=SCHEMA)


def sync(tables: Lake, properties: dict[str, str] | None = None, **values: int | None) -> Synced:
    tables.open_or_create("t", SCHEMA, {})
    return sync_rows(tables, "t", "id", rows(**values), lambda _: properties or {})


def content(tables: Lake) -> dict[str, Any]:
    found = tables.open("t").to_table(columns=["id", "value"], with_row_id=True).to_pylist()
    return {row["id"]: (row["value"], row["_rowid"]) for row in found}


def changes(tables: Lake, since: int | None, **more: Any) -> Changes | None:
    ref = tables.ref("t", tables.open("t").version)
    return changes_since(tables, ref, since, ["id"], removed=["id", "value"], **more)


def test_sync_writes_only_the_difference_and_nothing_where_there_is_none(tables: Lake) -> None:
    assert sync(tables, {"k": "1"}, a=1, b=2, c=None) == Synced(3, 0)
    first, before = tables.open("t"), content(tables)
    assert properties_of(first.read_transaction(first.version))["k"] == "1"
    assert sync(tables, c=None, b=2, a=1) == Synced(0, 0)
    assert sync(tables, a=1, b=3, d=None) == Synced(2, 1)
    assert tables.open("t").version == first.version + 1
    after = content(tables)
    assert {key: value for key, (value, _) in after.items()} == {"a": 1, "b": 3, "d": None}
    assert after["a"] == before["a"]  # an unchanged row is the same row


def test_difference_sees_nulls_and_nested_values() -> None:
    before, after = rows(a=1, b=None, c=3), rows(a=1, b=2, c=None, d=4)
    assert difference(before, after, "id") == (["d", "b", "c"], [])
    changed = pa.Table.from_pylist([{"id": "a", "value": 1, "tags": ["x"]}], schema=SCHEMA)
    assert difference(rows(a=1), changed, "id") == (["a"], [])
    assert difference(rows(a=1, b=2), rows(b=2), "id") == ([], ["a"])


def test_a_key_that_stands_twice_is_put_right(tables: Lake) -> None:
    sync(tables, a=1, b=2, c=3)
    fragments = write_fragments(tables, "t", rows(a=1, b=7))
    commit(tables, "t", lambda ds: replace_rows(ds, "id", [], fragments), {})
    assert difference(tables.open("t").to_table(), rows(a=1, c=3), "id") == (["a"], ["b", "b"])
    assert sync(tables, a=1, c=3).written == 1
    assert sorted(tables.open("t").to_table()["id"].to_pylist()) == ["a", "c"]
    assert sync(tables, a=1, c=3) == Synced(0, 0)


def test_changes_are_new_rows_changed_cells_and_rows_that_are_gone(tables: Lake) -> None:
    sync(tables, a=1, b=2, c=3, d=4)
    before = tables.open("t").version
    sync(tables, a=1, b=20, d=4, e=5)
    commit(tables, "t", lambda ds: add_columns(ds, [pa.field("score", pa.float32())]), {})
    row_id = content(tables)["d"][1]
    cells = pa.table({"_rowid": pa.array([row_id], pa.uint64()), "score": pa.array([0.5], pa.float32())})
    commit(tables, "t", lambda ds: write_cells(ds, cells), {})
    found = changes(tables, before)
    assert found is not None
    assert sorted(found.rows["id"].to_pylist()) == ["b", "d", "e"]
    gone = {row["id"]: row["value"] for row in found.removed.to_pylist()}
    assert gone == {"b": 2, "c": 3}  # b is another row now
    created = changes(tables, before, created=True)
    assert created is not None
    assert sorted(created.rows["id"].to_pylist()) == ["b", "e"]
    nothing = changes(tables, tables.open("t").version)
    assert nothing is not None
    assert (nothing.rows.num_rows, nothing.removed.num_rows) == (0, 0)
    assert nothing.removed.schema.names == found.removed.schema.names


def test_changes_since_a_version_that_was_removed_are_unknown(tables: Lake) -> None:
    for value in range(4):
        sync(tables, a=1, b=value)
    ds = tables.open("t")
    ds.tags.create("kept", 3)
    ds.cleanup_old_versions(older_than=timedelta(0), error_if_tagged_old_versions=False)
    assert changes(tables, 2) is None
    assert changes(tables, None) is None
    kept = changes(tables, 3)  # versions between are gone, and not needed
    assert kept is not None
    assert kept.rows["id"].to_pylist() == ["b"]
    assert [version for version, _ in commits_after(tables.open("t"), 0)] == [3, ds.version]
