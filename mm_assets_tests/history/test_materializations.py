"""The lake's history: own commits, and what a crash between commit and lineage row leaves behind."""

import shutil

import pyarrow as pa

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.step import StepContext, StepResult

SCHEMA = pa.schema([key_field("id")])


def step(run_id: str = "run-1") -> StepContext:
    return StepContext(run_id, "raw_images", {"raw_images": "code-1"}, {}, {}, {}, print)


def write(tables: Lake, key: str, final: StepResult | None) -> int:
    tables.open_or_create("objects", SCHEMA, step().properties(["raw_images"], 0))
    return put(tables, key, step().properties(["raw_images"], 1, {"raw_images": final} if final else None))


def put(tables: Lake, key: str, properties: dict[str, str]) -> int:
    fragments = write_fragments(tables, "objects", pa.table({"id": [key]}, schema=SCHEMA))
    done = commit(tables, "objects", lambda ds: replace_rows(ds, "id", [], fragments), properties)
    assert done is not None
    return int(done.version)


def test_a_record_lost_to_a_crash_is_written_at_the_next_start(tables: Lake) -> None:
    version = write(tables, "a", StepResult({"rows": 1}, Progress({"objects": 1})))
    assert History.read(tables).records == {}  # the process died after the commit
    found = heal(History.read(tables), "raw_images")
    assert found.record is not None
    assert found.last_commit == found.record.ref
    assert (found.last_commit.version, found.record.run_id, found.record.metadata) == (version, "run-1", {"rows": 1})
    assert list(History.read(tables).records.values()) == [found.record]
    assert list(tables.open("objects").tags.list()) == [f"raw_images.v{version}"]
    assert heal(History.read(tables), "raw_images") == found  # and once only
    assert len(History.read(tables).records) == 1


def test_a_batch_of_an_unfinished_run_is_an_own_commit_without_a_record(tables: Lake) -> None:
    done = write(tables, "a", StepResult({"rows": 1}))
    batch = write(tables, "b", None)
    found = heal(History.read(tables), "raw_images")
    assert found.record is not None
    assert found.last_commit is not None
    assert (found.record.ref.version, found.last_commit.version) == (done, batch)


def test_commits_of_other_assets_are_not_ones_own(tables: Lake) -> None:
    version = write(tables, "a", StepResult({"rows": 1}))
    other = StepContext("run-2", "scores", {"scores/raw": "1"}, {}, {}, {}, print)
    put(tables, "b", other.properties(["scores/raw"], 1))
    found = heal(History.read(tables), "raw_images")
    assert found.last_commit is not None
    assert found.last_commit.version == version


def test_the_history_of_a_dropped_table_is_not_the_history_of_the_new_one(tables: Lake) -> None:
    write(tables, "a", StepResult({"rows": 1}))
    heal(History.read(tables), "raw_images")
    shutil.rmtree(tables.uri("objects"))
    assert History.read(tables).newest == {}
    tables.open_or_create("objects", SCHEMA, {})
    assert History.read(tables).newest == {}
    assert heal(History.read(tables), "raw_images").last_commit is None
