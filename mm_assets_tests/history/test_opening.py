"""A step opens a table of an earlier release: its columns are added once, as maintenance, and no asset moves."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commits_after
from mm_assets.engines.lake.fields import since
from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.history.opening import open_table
from mm_assets.history.origins import commits_in, outside_row_changes, outside_writes
from mm_assets.history.rows import SCHEMA as LINEAGE_SCHEMA
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.history.rows import read_rows
from mm_assets.lineage.step import StepContext
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets_tests.kit.lake_rows import maintenance, record, write

LATER = pa.schema([SFT_SCHEMA.field(0), since(2, pa.field("note", pa.string())), *list(SFT_SCHEMA)[1:]])


def a_step(run_id: str) -> StepContext:
    return StepContext(run_id, "sft_dataset", {"sft_dataset": "1"}, {}, {}, {}, print)


@pytest.fixture
def old(tables: Lake) -> Lake:
    """A dataset with two rows and a materialization."""
    open_table(tables, a_step("first"), SFT, SFT_SCHEMA, ["sft_dataset"])
    write(tables, SFT, SFT_SCHEMA, [{"example_id": name, "task": "label"} for name in "ab"])
    record(tables, "sft_dataset")
    return tables


def test_the_first_step_adds_the_column_and_the_history_says_so(old: Lake) -> None:
    before = heal(History.read(old), "sft_dataset")
    ds = open_table(old, a_step("second"), SFT, LATER)
    assert "note" in ds.schema.names
    (work,) = maintenance(old)
    assert (work.ref.version, work.ended, work.run_id, work.step) == (
        ds.version - 1, ds.version, "second", "sft_dataset",
    )  # fmt: skip
    after = heal(History.read(old), "sft_dataset")
    assert (after.last_commit, after.record) == (before.last_commit, before.record)
    assert outside_row_changes(ds, ds.version - 1) == []


def test_a_second_step_finds_it_there(old: Lake) -> None:
    open_table(old, a_step("second"), SFT, LATER)
    version, rows = old.open(SFT).version, len(read_rows(old))
    assert open_table(old, a_step("third"), SFT, LATER).version == version
    assert len(read_rows(old)) == rows


def test_of_steps_that_come_at_once_exactly_one_adds_the_column(old: Lake) -> None:
    racers, before = 4, old.open(SFT).version
    start = Barrier(racers)

    def race(number: int) -> int:
        start.wait()
        return int(open_table(old, a_step(f"run-{number}"), SFT, LATER).version)

    with ThreadPoolExecutor(racers) as threads:
        assert set(threads.map(race, range(racers))) == {before + 1}
    assert len(maintenance(old)) == 1
    ds = old.open(SFT)
    assert [version for version, _ in commits_after(ds, before)] == [before + 1]
    found = outside_writes(commits_in(ds, range(before + 1, before + 2)), table_id(ds), maintenance(old))
    assert list(found) == []


def test_a_history_without_kinds_is_brought_up_by_the_row_that_needs_them(tables: Lake) -> None:
    earlier = LINEAGE_SCHEMA.remove(LINEAGE_SCHEMA.get_field_index("kind"))
    tables.open_or_create(LINEAGE, earlier, {"mm.run_id": "first"})
    tables.open_or_create(SFT, SFT_SCHEMA, {})
    assert read_rows(tables) == []
    made = record(tables, "sft_dataset")
    (row,) = read_rows(tables)
    assert (row["id"], row["kind"]) == (made.id, "materialization")
    ds = tables.open(LINEAGE)
    assert list(outside_writes(commits_in(ds, range(1, ds.version + 1)), table_id(ds), ())) == []
