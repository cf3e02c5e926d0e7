"""Which commits were made outside: what nobody's step, no maintenance run and not the history accounts for."""

from collections.abc import Callable
from dataclasses import replace

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commit, fence
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, table_id, write_fragments
from mm_assets.history.maintenance import maintaining
from mm_assets.history.origins import Commit, commits_in, outside_row_changes, outside_writes
from mm_assets.lineage.properties import FENCE, UPKEEP
from mm_assets.lineage.properties import SCHEMA as COLUMNS
from mm_assets.lineage.step import StepContext
from mm_assets_tests.kit.lake_rows import maintenance, record

SCHEMA = pa.schema([key_field("image_id"), pa.field("label", pa.string())])
TABLE = "objects"


def put(tables: Lake, key: str) -> None:
    step = StepContext("run-1", "raw_images", {"raw_images": "1"}, {}, {}, {}, print)
    tables.open_or_create(TABLE, SCHEMA, step.properties(["raw_images"], 0))
    rows = pa.table({"image_id": [key], "label": ["pool"]}, schema=SCHEMA)
    fragments = write_fragments(tables, TABLE, rows)
    commit(tables, TABLE, lambda ds: replace_rows(ds, "image_id", [], fragments), step.properties(["raw_images"], 1))


@pytest.fixture
def written(tables: Lake) -> Lake:
    for key in "abc":
        put(tables, key)
    record(tables, "raw_images")
    return tables


def outside_commits(tables: Lake, table: str, after: int) -> list[Commit]:
    ds = tables.open(table)
    found = commits_in(ds, range(after + 1, ds.version + 1))
    return list(outside_writes(found, table_id(ds), maintenance(tables)))


def compact(ds: lance.LanceDataset) -> None:
    ds.optimize.compact_files()


def append(ds: lance.LanceDataset) -> None:
    lance.write_dataset(pa.table({"image_id": ["x"], "label": ["y"]}, schema=SCHEMA), ds, mode="append")


FOREIGN: dict[str, tuple[Callable[[lance.LanceDataset], object], list[str]]] = {
    "append": (append, ["Append"]),
    "delete": (lambda ds: ds.delete("image_id = 'a'"), ["Delete"]),
    "update": (lambda ds: ds.update({"label": "'gym'"}), ["Update"]),
    "column": (lambda ds: ds.add_columns([pa.field("more", pa.int8())]), ["Merge"]),
    "restore": (lambda ds: ds.checkout_version(2).restore(), ["Restore"]),
    "compaction": (compact, ["BaseOperation", "Rewrite"]),
    "index": (lambda ds: ds.create_scalar_index("image_id", "BTREE"), ["CreateIndex"]),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_write_from_outside_is_told_from_our_own(written: Lake, what: str) -> None:
    ours = written.open(TABLE).version
    assert outside_commits(written, TABLE, 0) == outside_commits(written, "lineage", 0) == []
    write, operations = FOREIGN[what]
    write(written.open(TABLE))
    found = outside_commits(written, TABLE, 0)
    assert [(item.version, item.operation) for item in found] == list(enumerate(operations, start=ours + 1))
    assert outside_commits(written, TABLE, ours + len(operations)) == []


def test_maintenance_accounts_for_what_changes_no_row_and_for_nothing_else(written: Lake) -> None:
    with maintaining(written, TABLE, "night", "maintenance") as begin:
        begin()
        compact(written.open(TABLE))
        written.open(TABLE).create_scalar_index("image_id", "BTREE")
        fence(written, TABLE, {UPKEEP: "night"})
        append(written.open(TABLE))
        append(written.open(TABLE))
    compact(written.open(TABLE))
    found = outside_commits(written, TABLE, 0)
    assert [item.operation for item in found] == ["Append", "Append", "BaseOperation", "Rewrite"]


def test_maintenance_that_was_killed_accounts_for_its_commits_until_the_next_one(written: Lake) -> None:
    def killed() -> None:
        with maintaining(written, TABLE, "night", "maintenance") as begin:
            begin()
            compact(written.open(TABLE))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    (left,) = maintenance(written)
    assert (left.run_id, left.ended) == ("night", None)
    assert outside_commits(written, TABLE, 0) == []
    for key in "de":
        put(written, key)
    with maintaining(written, TABLE, "next", "maintenance") as begin:
        begin()
    compact(written.open(TABLE))
    assert [item.operation for item in outside_commits(written, TABLE, 0)] == ["BaseOperation", "Rewrite"]
    assert [(item.run_id, item.ended is None) for item in maintenance(written)] == [("night", True), ("next", False)]


def test_maintenance_with_nothing_to_do_writes_nothing(written: Lake) -> None:
    version = written.open("lineage").version
    with maintaining(written, TABLE, "night", "maintenance"):
        pass
    assert written.open("lineage").version == version


def test_the_history_written_over_by_hand_is_told(written: Lake) -> None:
    rows = written.open("lineage").to_table()
    lance.write_dataset(rows, written.open("lineage"), mode="append")
    assert [item.operation for item in outside_commits(written, "lineage", 0)] == ["Append"]


STEP = {"mm.assets": "raw_images", "mm.run_id": "night"}
FENCED = {UPKEEP: "night", FENCE: "true"}
BROUGHT_UP = {UPKEEP: "night", COLUMNS: TABLE}


def forged(tables: Lake, operation: lance.LanceOperation.BaseOperation, properties: dict[str, str]) -> None:
    ds = tables.open(TABLE)
    lance.LanceDataset.commit(ds, lance.Transaction(ds.version, operation, transaction_properties=properties))


def new_row(tables: Lake) -> list[lance.FragmentMetadata]:
    return write_fragments(tables, TABLE, pa.table({"image_id": ["x"], "label": ["y"]}, schema=SCHEMA))


FORGED: dict[str, Callable[[Lake], object]] = {
    "an append as upkeep": lambda tables: forged(tables, lance.LanceOperation.Append(new_row(tables)), FENCED),
    "a fence that undoes commits": lambda tables: forged(tables, lance.LanceOperation.Restore(2), FENCED),
    "a fence that puts rows in": lambda tables: forged(
        tables,
        lance.LanceOperation.Merge(
            [*(item.metadata for item in tables.open(TABLE).get_fragments()), replace(new_row(tables)[0], id=9)], SCHEMA
        ),
        FENCED,
    ),
    "a fence that leaves a column out": lambda tables: forged(
        tables,
        lance.LanceOperation.Merge([item.metadata for item in tables.open(TABLE).get_fragments()], SCHEMA.remove(1)),
        FENCED,
    ),
    "columns of a later release with a row": lambda tables: forged(
        tables,
        lance.LanceOperation.Merge(
            [*(item.metadata for item in tables.open(TABLE).get_fragments()), replace(new_row(tables)[0], id=9)],
            SCHEMA.append(pa.field("more", pa.int8())),
        ),
        BROUGHT_UP,
    ),
    "columns of a later release without one of the others": lambda tables: forged(
        tables,
        lance.LanceOperation.Merge(
            [item.metadata for item in tables.open(TABLE).get_fragments()],
            SCHEMA.remove(1),
        ),
        BROUGHT_UP,
    ),
    "rows as columns of a later release": lambda tables: forged(
        tables, lance.LanceOperation.Append(new_row(tables)), BROUGHT_UP
    ),
    "a step of no asset": lambda tables: commit(
        tables, TABLE, lambda ds: replace_rows(ds, "image_id", ["a"], []), STEP | {"mm.assets": ""}
    ),
    "a step of another table": lambda tables: commit(
        tables, TABLE, lambda ds: replace_rows(ds, "image_id", ["a"], []), STEP | {"mm.assets": "image_table"}
    ),
    "a step of no run": lambda tables: commit(
        tables, TABLE, lambda ds: replace_rows(ds, "image_id", ["a"], []), STEP | {"mm.run_id": ""}
    ),
    "a step by what steps do not do": lambda tables: forged(tables, lance.LanceOperation.Append(new_row(tables)), STEP),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_a_commit_says_of_itself_is_not_enough(written: Lake, what: str) -> None:
    """Neither for what is told as made outside, nor for what the next run looks at again."""
    before = written.open(TABLE).version
    FORGED[what](written)
    assert [item.version for item in outside_commits(written, TABLE, 0)] == [before + 1]
    assert [item.version for item in outside_row_changes(written.open(TABLE), 0)] == [before + 1]


def test_a_row_that_was_taken_out_of_the_history_in_the_name_of_a_run(written: Lake) -> None:
    (row,) = written.open("lineage").to_table().to_pylist()
    commit(written, "lineage", lambda ds: replace_rows(ds, "id", [row["id"]], []), {"mm.run_id": "run"})
    assert [item.version for item in outside_commits(written, "lineage", 0)] == [written.open("lineage").version]
    record(written, "raw_images")
    assert len(outside_commits(written, "lineage", 0)) == 1
