"""Commits: with properties, exactly once, rows replaced, cells written in place, whoever else writes the table."""

import multiprocessing
from collections.abc import Iterable
from typing import Any

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.cells import add_columns, commit_cells, write_cells
from mm_assets.engines.lake.commits import (
    FencedError,
    commit,
    commit_writes_asset,
    commits_after,
    fence,
    properties_of,
    tag,
)
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.rows import replace_rows, rows_by_id, rows_by_key
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.lineage.properties import ASSETS, MARK

SCHEMA = pa.schema([key_field("id"), pa.field("value", pa.int64()), pa.field("sha256", pa.string())])
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def tables(anywhere: Lake) -> Lake:
    return anywhere


@pytest.fixture
def folder(tmp_path: Any) -> Lake:
    return Lake(str(tmp_path / "lake"))


def rows(**values: int | None) -> pa.Table:
    items = [{"id": key, "value": value, "sha256": f"of {value}"} for key, value in values.items()]
    return pa.Table.from_pylist(items, schema=SCHEMA)


def put(tables: Lake, drop: Iterable[str] = (), properties: dict[str, str] | None = None, **values: Any) -> Any:
    tables.open_or_create("t", SCHEMA, {})
    fragments = write_fragments(tables, "t", rows(**values)) if values else []
    return commit(tables, "t", lambda ds: replace_rows(ds, "id", drop, fragments), properties or {})


def content(tables: Lake, column: str = "value") -> dict[str, Any]:
    return {row["id"]: row[column] for row in tables.open("t").to_table().to_pylist()}


def row_ids(tables: Lake) -> dict[str, int]:
    table = tables.open("t").scanner(columns=["id"], with_row_id=True).to_table()
    return dict(zip(table["id"].to_pylist(), table["_rowid"].to_pylist(), strict=True))


def scores(tables: Lake, **values: float) -> pa.Table:
    ids = row_ids(tables)
    ids = {key: ids[key] for key in values}
    digests = [content(tables, "sha256")[key] for key in values]
    columns = {"_rowid": pa.array(ids.values(), pa.uint64()), "sha256": digests}
    return pa.table({**columns, "score": pa.array(values.values(), pa.float32())})


def with_scores(tables: Lake) -> None:
    commit(tables, "t", lambda ds: add_columns(ds, [pa.field("score", pa.float32())]), {ASSETS: "scores/x"})


def test_the_first_rows_may_come_in_many_fragments(tables: Lake) -> None:
    tables.open_or_create("t", SCHEMA, {})
    fragments = [f for part in (rows(a=1), rows(b=2), rows(c=3)) for f in write_fragments(tables, "t", part)]
    commit(tables, "t", lambda ds: replace_rows(ds, "id", [], fragments), {})
    assert content(tables) == {"a": 1, "b": 2, "c": 3}
    assert sorted(row_ids(tables).values()) == [0, 1, 2]


def test_a_replaced_row_keeps_no_cell_of_the_old_one(tables: Lake) -> None:
    put(tables, a=1, b=2)
    with_scores(tables)
    commit_cells(tables, "t", scores(tables, a=0.5, b=0.25), {})
    before = row_ids(tables)
    put(tables, ["b", "never there"], b=20)
    assert content(tables) == {"a": 1, "b": 20}
    assert content(tables, "score") == {"a": 0.5, "b": None}
    assert row_ids(tables)["a"] == before["a"]  # an untouched row is the same row


def test_nothing_to_put_and_nothing_to_drop_is_no_commit(tables: Lake) -> None:
    put(tables, a=1)
    version = tables.open("t").version
    assert put(tables, ["never there"]) is None
    assert tables.open("t").version == version


def test_cells_are_written_to_their_rows_alone(tables: Lake) -> None:
    put(tables, a=1, b=2)
    put(tables, c=3, d=4)
    ids = row_ids(tables)
    cells = pa.table({"_rowid": pa.array([ids["d"], ids["a"]], pa.uint64()), "value": pa.array([40, None], pa.int64())})
    done = commit(tables, "t", lambda ds: write_cells(ds, cells), {"k": "cells"})
    assert content(tables) == {"a": None, "b": 2, "c": 3, "d": 40}
    assert done is not None
    assert properties_of(done.read_transaction(done.version))["k"] == "cells"


def test_a_cell_is_not_written_on_bytes_that_it_was_not_computed_from(tables: Lake) -> None:
    put(tables, a=1, b=2)
    with_scores(tables)
    cells = scores(tables, a=0.5, b=0.25)
    put(tables, ["b"], b=3)  # b has other bytes now
    commit_cells(tables, "t", cells, {})
    assert content(tables, "score") == {"a": 0.5, "b": None}
    assert commit_cells(tables, "t", cells.slice(1), {}) is None


@pytest.mark.parametrize("odd", ["it's", 'a"b', "line\nbreak", "客厅", "n" * 300])
def test_rows_are_found_by_any_key(folder: Lake, odd: str) -> None:
    values: dict[str, Any] = {odd: 1, "z": 2}
    put(folder, **values)
    assert rows_by_key(folder.open("t"), "id", [odd, "none"])["id"].to_pylist() == [odd]
    put(folder, [odd])
    assert content(folder) == {"z": 2}


def test_added_columns_carry_properties(tables: Lake) -> None:
    tables.open_or_create("t", SCHEMA, {ASSETS: "maker"})
    fields = [pa.field("s", pa.string())]
    done = commit(tables, "t", lambda ds: add_columns(ds, fields), {ASSETS: "scores/a,scores/b"})
    assert commit(tables, "t", lambda ds: add_columns(ds, fields), {}) is None  # there already
    assert done is not None
    commits = dict(commits_after(done, 0))
    assert [version for version, found in commits.items() if commit_writes_asset(found, "scores/b")] == [2]
    assert [version for version, found in commits.items() if commit_writes_asset(found, "maker")] == [1]
    assert not commit_writes_asset(commits[2], "scores")


def test_tagging_twice_changes_nothing(tables: Lake) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    tag(ds, "maker.v1", 1)
    tag(ds, "maker.v1", 1)
    assert list(ds.tags.list()) == ["maker.v1"]


def test_what_another_commit_overtook_is_prepared_again(tables: Lake) -> None:
    put(tables, a=1)
    versions = []

    def prepare(ds: lance.LanceDataset) -> Any:
        versions.append(ds.version)
        if len(versions) == 1:
            put(tables, b=2)  # another run inserts between our look and our commit
        there = rows_by_key(ds, "id", ["b"])["id"].to_pylist()
        return None if there else replace_rows(ds, "id", [], write_fragments(tables, "t", rows(b=3)))

    assert commit(tables, "t", prepare, {}) is None
    assert len(versions) == 2
    assert content(tables) == {"a": 1, "b": 2}


def test_a_commit_whose_answer_was_lost_is_not_made_twice(folder: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, a=1)
    real = lance.LanceDataset.commit
    lost: list[int] = []

    def without_answer(*arguments: Any, **named: Any) -> Any:
        done = real(*arguments, **named)
        if not lost:
            lost.append(done.version)
            raise OSError("Retryable commit conflict: the store said that the version exists")
        return done

    monkeypatch.setattr(lance.LanceDataset, "commit", without_answer)
    done = put(folder, b=2)
    assert done.version == lost[0] == folder.open("t").version
    assert folder.open("t").to_table()["id"].to_pylist() == ["a", "b"]


def test_a_fence_refuses_what_was_written_before_it(folder: Lake) -> None:
    put(folder, a=1)
    begun = folder.open("t")
    fragments = write_fragments(folder, "t", rows(b=2))
    done = fence(folder, "t", {"why": "clean-up"})
    assert (done.version, content(folder)) == (begun.version + 1, {"a": 1})
    operation = replace_rows(begun, "id", [], fragments)
    with pytest.raises(OSError, match="conflict"):  # a writer that was stopped in the middle of its commit
        lance.LanceDataset.commit(begun, lance.Transaction(begun.version, operation))
    with pytest.raises(FencedError, match=r"t\.lance was cleaned up .* run the step again"):
        commit(folder, "t", lambda ds: replace_rows(ds, "id", [], fragments), {}, written_at=begun.version)
    put(folder, c=3)
    assert content(folder) == {"a": 1, "c": 3}


def insert_missing(root: str, count: int) -> None:
    """What a racing process does: create the table, and insert what is not there, five rows a commit."""
    tables = Lake(root)
    tables.open_or_create("t", SCHEMA, {})
    for number in range(count):
        wanted = {f"{number}-{i}": i for i in range(5)}

        def prepare(ds: lance.LanceDataset, wanted: dict[str, int] = wanted) -> Any:
            there = rows_by_key(ds, "id", list(wanted))["id"].to_pylist()
            new = {key: value for key, value in wanted.items() if key not in there}
            return replace_rows(ds, "id", [], write_fragments(tables, "t", rows(**new))) if new else None

        commit(tables, "t", prepare, {})


def test_processes_that_insert_the_same_keys_insert_each_once(folder: Lake) -> None:
    racers = [SPAWN.Process(target=insert_missing, args=(folder.root, 30)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    ids = folder.open("t").to_table(columns=["id"])["id"].to_pylist()
    assert (len(ids), len(set(ids))) == (150, 150)
    marks = [found.get(MARK) for _, found in commits_after(folder.open("t"), 1)]
    assert len(set(marks)) == len(marks) == 30  # and no version is empty


def test_no_rows_are_looked_up_without_reading_any(folder: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, a=1, b=2)
    ds, filters = folder.open("t"), []
    scanner = lance.LanceDataset.scanner

    def noting(self: lance.LanceDataset, *arguments: Any, **options: Any) -> Any:
        filters.append(options["filter"])
        return scanner(self, *arguments, **options)

    monkeypatch.setattr(lance.LanceDataset, "scanner", noting)
    none = pa.chunked_array([], pa.uint64())
    assert rows_by_id(ds, none, ["sha256"]).num_rows == rows_by_id(ds, none).num_rows == 0
    assert filters == ["false", "false"]
