"""Commits with properties, rows replaced, cells written in place, differences."""

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lance_tables import (
    LakeTables,
    add_columns,
    carries,
    commits_after,
    difference,
    key_field,
    properties_of,
    replace_rows,
    sync_rows,
    table_id,
    tag,
    update_cells,
    write_fragments,
)
from mm_assets.lineage.refs import ASSETS, RefusalError

SCHEMA = pa.schema([key_field("id"), pa.field("value", pa.int64()), pa.field("tags", pa.list_(pa.string()))])


@pytest.fixture
def tables(anywhere: LakeTables) -> LakeTables:
    return anywhere


def rows(**values: int | None) -> pa.Table:
    items = [{"id": key, "value": value, "tags": [key]} for key, value in values.items()]
    return pa.Table.from_pylist(items, schema=SCHEMA)


def content(tables: LakeTables) -> dict[str, int | None]:
    return {row["id"]: row["value"] for row in tables.open("t").to_table().to_pylist()}


def test_a_missing_table_is_refused_by_name(tables: LakeTables) -> None:
    with pytest.raises(RefusalError, match="no table t"):
        tables.open("t")


def test_a_recreated_table_has_another_identity(tables: LakeTables) -> None:
    first = table_id(tables.open_or_create("t", SCHEMA, {}))
    assert table_id(tables.open_or_create("t", SCHEMA, {})) == first
    lance.LanceDataset.drop(tables.uri("t"), tables.options)
    assert table_id(tables.open_or_create("t", SCHEMA, {})) != first


def test_sync_writes_only_the_difference_and_nothing_where_there_is_none(tables: LakeTables) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    first = sync_rows(tables, ds, "t", "id", rows(a=1, b=2, c=None), {"k": "1"})
    assert first is not None
    assert properties_of(first, first.version) == {"k": "1"}
    assert sync_rows(tables, first, "t", "id", rows(c=None, b=2, a=1), {}) is None
    ids = dict(zip(*first.to_table(columns=["id"], with_row_id=True).to_pydict().values(), strict=True))
    second = sync_rows(tables, first, "t", "id", rows(a=1, b=3, d=None), {})
    assert second is not None
    assert second.version == first.version + 1
    assert content(tables) == {"a": 1, "b": 3, "d": None}
    after = dict(zip(*second.to_table(columns=["id"], with_row_id=True).to_pydict().values(), strict=True))
    assert after["a"] == ids["a"]  # an unchanged row is the same row


def test_difference_sees_nulls_and_nested_values() -> None:
    before, after = rows(a=1, b=None, c=3), rows(a=1, b=2, c=None, d=4)
    assert difference(before, after, "id") == (["d", "b", "c"], [])
    changed = pa.Table.from_pylist([{"id": "a", "value": 1, "tags": ["x"]}], schema=SCHEMA)
    assert difference(rows(a=1), changed, "id") == (["a"], [])
    assert difference(rows(a=1, b=2), rows(b=2), "id") == ([], ["a"])


def test_a_replaced_row_keeps_no_cell_of_the_old_one(tables: LakeTables) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    ds = replace_rows(ds, "id", [], write_fragments(tables, "t", rows(a=1, b=2)), {})
    ds = add_columns(ds, [pa.field("score", pa.float32())], {ASSETS: "scores/x"})
    ids = ds.to_table(columns=["id"], with_row_id=True)["_rowid"]
    ds = update_cells(ds, pa.table({"_rowid": ids, "score": pa.array([0.5, 0.25], pa.float32())}), {})
    ds = replace_rows(ds, "id", ["b"], write_fragments(tables, "t", rows(b=20)), {})
    found = {row["id"]: (row["value"], row["score"]) for row in ds.to_table().to_pylist()}
    assert found == {"a": (1, 0.5), "b": (20, None)}


def test_cells_are_written_to_their_rows_alone(tables: LakeTables) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    for part in (rows(a=1, b=2), rows(c=3, d=4)):
        ds = replace_rows(ds, "id", [], write_fragments(tables, "t", part), {})
    ids = {row["id"]: row["_rowid"] for row in ds.to_table(with_row_id=True).to_pylist()}
    cells = pa.table({"_rowid": pa.array([ids["d"], ids["a"]], pa.uint64()), "value": pa.array([40, None], pa.int64())})
    ds = update_cells(ds, cells, {"k": "cells"})
    assert content(tables) == {"a": None, "b": 2, "c": 3, "d": 40}
    assert properties_of(ds, ds.version) == {"k": "cells"}


def test_rows_are_found_by_any_key(tables: LakeTables) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    odd = {"it's": 1, 'a"b': 2, "line\nbreak": 3}
    ds = replace_rows(ds, "id", [], write_fragments(tables, "t", rows(**odd)), {})
    replace_rows(ds, "id", ["it's", "line\nbreak"], write_fragments(tables, "t", rows(z=9)), {})
    assert content(tables) == {'a"b': 2, "z": 9}


def test_added_columns_carry_properties(tables: LakeTables) -> None:
    ds = tables.open_or_create("t", SCHEMA, {ASSETS: "maker"})
    ds = add_columns(ds, [pa.field("s", pa.string())], {ASSETS: "scores/a,scores/b"})
    commits = dict(commits_after(ds, 0))
    assert [version for version, found in commits.items() if carries(found, "scores/b")] == [2]
    assert [version for version, found in commits.items() if carries(found, "maker")] == [1]
    assert not carries(commits[2], "scores")


def test_tagging_twice_changes_nothing(tables: LakeTables) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    tag(ds, "maker.v1", 1)
    tag(ds, "maker.v1", 1)
    assert list(ds.tags.list()) == ["maker.v1"]


def test_a_pin_of_a_recreated_table_is_refused(tables: LakeTables) -> None:
    tables.open_or_create("t", SCHEMA, {})
    ref = tables.ref("t", 1)
    assert tables.open_at(ref).version == 1
    lance.LanceDataset.drop(tables.uri("t"), tables.options)
    tables.open_or_create("t", SCHEMA, {})
    with pytest.raises(RefusalError, match=f"{ref} is gone"):
        tables.open_at(ref)


def test_a_table_of_an_earlier_version_is_refused_by_its_missing_column(tables: LakeTables) -> None:
    tables.open_or_create("t", SCHEMA, {})
    later = SCHEMA.append(pa.field("error", pa.string()))
    with pytest.raises(RefusalError, match=r"t\.lance of the lake .* has no column error: an earlier version"):
        tables.open_or_create("t", later, {})
