"""Maintenance beside other processes: writers that were killed, stopped or go on, and a maintenance that is killed.

Every process here is a real one, and every signal too.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import lance
import pyarrow as pa
import pytest
from lance.dataset import Tags
from lance.optimize import Compaction

from mm_assets.engines.lake.cells import write_cells
from mm_assets.engines.lake.commits import FencedError, commit, fence
from mm_assets.engines.lake.files import files_of, stem_of
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.upkeep import cleanup as lance_cleanup
from mm_assets.history.origins import commits_in
from mm_assets.lineage.properties import UPKEEP
from mm_assets.lineage.step import StepResult
from mm_assets.operations.upkeep import job
from mm_assets.operations.upkeep.job import Upkeep, maintain
from mm_assets.settings import UpkeepSettings
from mm_assets_tests.kit.lake_rows import expiries
from mm_assets_tests.kit.past import TABLE, content, pictures, put, score, with_a_past

# Seconds after which a process that should have said something has failed.
DEADLINE_S = 60.0
NEW = ["new-0.png", "new-1.png", "new-2.png"]

spawn = multiprocessing.get_context("spawn")


class Child:
    """A process that runs a function with a lake and a pipe to this one."""

    def __init__(self, function: Callable[..., None], tables: Lake, *arguments: Any) -> None:
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=function, args=(tables, theirs, *arguments))
        self._process.start()
        theirs.close()

    def hears(self) -> Any:
        assert self._pipe.poll(DEADLINE_S), "it said nothing"
        return self._pipe.recv()

    def is_stopped(self) -> None:
        """Wait for it to stop itself."""
        _, status = os.waitpid(self._pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status

    def goes_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def ends(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it."""
        self._process.join(DEADLINE_S)
        return self._process.exitcode

    @property
    def over(self) -> bool:
        return not self._process.is_alive()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


def upkeep(tables: Lake, **settings: float) -> Upkeep:
    return maintain(tables, UpkeepSettings(**{"grace_seconds": 0, **settings}), "run-of-upkeep", print)


def removed(done: Upkeep) -> int:
    return sum(report.orphans.files for report in done.tables if report.orphans)


def data_files(tables: Lake) -> set[str]:
    return {path for path in files_of(tables, TABLE) if path.startswith(("data/", "_deletions/"))}


def write_and_get(tables: Lake, pipe: Connection, number: int) -> None:
    """Write files, and get a signal before they are committed."""
    version = tables.open(TABLE).version
    fragments = write_fragments(tables, TABLE, pictures(NEW))
    left = replace_rows(tables.open(TABLE), "image_id", ["000.png"], [])  # a list of removed rows, too
    assert left is not None
    os.kill(os.getpid(), number)
    try:
        commit(tables, TABLE, lambda head: replace_rows(head, "image_id", [], fragments), {}, written_at=version)
    except FencedError as error:
        pipe.send(str(error))
        raise


def write_and_stop_with_lance_alone(tables: Lake, pipe: Connection) -> None:
    """Stop before a plain commit of Lance's own."""
    ds = tables.open(TABLE)
    fragments = write_fragments(tables, TABLE, pictures(NEW))
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        lance.LanceDataset.commit(ds, lance.Transaction(ds.version, lance.LanceOperation.Append(fragments)))
    except OSError as error:
        pipe.send(str(error))
        raise


def test_files_of_a_killed_writer_are_removed_and_rows_stay(anywhere: Lake) -> None:
    with_a_past(anywhere)
    upkeep(anywhere)
    before, files, version = content(anywhere.open(TABLE)), data_files(anywhere), anywhere.open(TABLE).version
    assert Child(write_and_get, anywhere, signal.SIGKILL).ends() == -signal.SIGKILL
    orphans = data_files(anywhere) - files
    assert len(orphans) == 3  # a data file, a large image, and a list of removed rows
    assert removed(upkeep(anywhere)) == 3
    assert data_files(anywhere) == files
    assert content(anywhere.open(TABLE)) == before
    assert anywhere.open(TABLE).version == version + 1  # the fence
    assert not upkeep(anywhere).changed


def test_a_writer_that_was_stopped_meanwhile_fails_and_says_what_to_do(tables: Lake) -> None:
    with_a_past(tables)
    upkeep(tables)
    before = content(tables.open(TABLE))
    writer = Child(write_and_get, tables, signal.SIGSTOP)
    writer.is_stopped()
    assert removed(upkeep(tables)) == 3
    writer.goes_on()
    assert "cleaned up (maintenance) while this step wrote to it" in writer.hears()
    assert writer.ends() == 1
    assert content(tables.open(TABLE)) == before


def test_a_stopped_writer_fails_also_after_later_maintenance_removed_the_fence(tables: Lake) -> None:
    with_a_past(tables)
    writer = Child(write_and_get, tables, signal.SIGSTOP)
    writer.is_stopped()
    upkeep(tables)
    fenced = tables.open(TABLE).version
    put(tables, ["later.png"], seed=7)
    upkeep(tables)
    before = content(tables.open(TABLE))
    assert fenced not in {item["version"] for item in tables.open(TABLE).versions()}
    writer.goes_on()
    assert "run the step again" in writer.hears()
    assert writer.ends() == 1
    assert content(tables.open(TABLE)) == before


def test_lance_itself_refuses_a_stopped_writer(tables: Lake) -> None:
    with_a_past(tables)
    before = content(tables.open(TABLE))
    writer = Child(write_and_stop_with_lance_alone, tables)
    writer.is_stopped()
    assert removed(upkeep(tables)) == 2
    writer.goes_on()
    assert "preempted by concurrent transaction Merge" in writer.hears()
    assert writer.ends() == 1
    assert content(tables.open(TABLE)) == before


def test_a_stopped_writer_within_the_grace_goes_on_undisturbed(tables: Lake) -> None:
    with_a_past(tables)
    writer = Child(write_and_get, tables, signal.SIGSTOP)
    writer.is_stopped()
    upkeep(tables, grace_seconds=3600)
    writer.goes_on()
    assert writer.ends() == 0
    assert set(NEW) < {row["image_id"] for row in content(tables.open(TABLE))}


def test_a_writer_that_begins_behind_the_fence_loses_nothing(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_past(tables)
    assert Child(write_and_get, tables, signal.SIGKILL).ends() == -signal.SIGKILL
    begun: list[Any] = []

    def fence_and_write(*arguments: Any) -> lance.LanceDataset:
        done = fence(*arguments)
        begun.append((tables.open(TABLE).version, write_fragments(tables, TABLE, pictures(NEW))))
        return done

    monkeypatch.setattr(lance_cleanup, "fence", fence_and_write)
    assert removed(upkeep(tables)) == 3
    ((version, fragments),) = begun
    commit(tables, TABLE, lambda head: replace_rows(head, "image_id", [], fragments), {}, written_at=version)
    assert set(NEW) < {row["image_id"] for row in content(tables.open(TABLE))}


def test_what_is_committed_between_the_listing_and_the_fence_stays(
    tables: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_past(tables)
    fragments = write_fragments(tables, TABLE, pictures(NEW))

    def commit_and_fence(*arguments: Any) -> lance.LanceDataset:
        commit(tables, TABLE, lambda head: replace_rows(head, "image_id", [], fragments), {})
        return fence(*arguments)

    monkeypatch.setattr(lance_cleanup, "fence", commit_and_fence)
    assert removed(upkeep(tables)) == 0
    assert set(NEW) < {row["image_id"] for row in content(tables.open(TABLE))}


def test_what_is_committed_while_the_fence_is_set_stays(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its look at the table and its own commit."""
    with_a_past(tables)
    fragments = write_fragments(tables, TABLE, pictures(NEW))
    find = Lake.open
    others = [lambda: commit(tables, TABLE, lambda head: replace_rows(head, "image_id", [], fragments), {})]

    def look_and_wait(self: Lake, table: str, version: int | None = None) -> lance.LanceDataset:
        rows_by_id = find(self, table, version)
        if others:
            others.pop()()
        return rows_by_id

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "open", look_and_wait)
        fence(tables, TABLE, {UPKEEP: "night"})
    assert set(NEW) < {row["image_id"] for row in content(tables.open(TABLE))}
    ds = tables.open(TABLE)
    assert [item for item in commits_in(ds, [ds.version]) if item.is_no_op] != []


def _row_ids(tables: Lake) -> list[int]:
    return sorted(tables.open(TABLE).to_table(columns=[], with_row_id=True)["_rowid"].to_pylist())


def score_for_ever(tables: Lake, pipe: Connection, rounds: int) -> None:
    """Write one cell after the other, each in a commit of its own."""
    pipe.send("begun")
    for value in range(1, rounds + 1):
        for row_id in _row_ids(tables)[::7]:
            cells = pa.table({"_rowid": pa.array([row_id], pa.uint64()), "score": pa.array([value], pa.float32())})
            commit(tables, TABLE, partial(write_cells, cells=cells), {})


def test_scoring_and_maintenance_at_once_end_with_the_right_cells(tables: Lake) -> None:
    with_a_past(tables)
    score(tables, 0)
    expected = {row["_rowid"]: row for row in content(tables.open(TABLE))}
    for row_id in _row_ids(tables)[::7]:
        expected[row_id]["score"] = 3.0
    writer = Child(score_for_ever, tables, 3)
    assert writer.hears() == "begun"
    rounds = 0
    while not writer.over:
        rounds += 1
        upkeep(tables, grace_seconds=3600)
    assert writer.ends() == 0
    assert rounds
    rows_by_id = {row["_rowid"]: row for row in content(tables.open(TABLE))}
    for rows in (rows_by_id, expected):
        for row in rows.values():
            del row["_row_last_updated_at_version"]
    assert rows_by_id == expected


PLACES: dict[str, tuple[Any, str]] = {
    "after a compaction": (job, "keep_indexes"),
    "before the commit of a compaction": (Compaction, "commit"),
    "between an expiry and its tag": (Tags, "delete"),
    "before versions go": (job, "remove_versions"),
    "before the fence": (lance_cleanup, "fence"),
    "behind the fence": (lance_cleanup, "remove_files"),
}


def maintain_and_die(tables: Lake, pipe: Connection, where: str) -> None:
    """A maintenance that is killed when it comes to a place."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    owner, name = PLACES[where]
    setattr(owner, name, die)
    upkeep(tables, keep_last=1)


@pytest.mark.parametrize("where", PLACES)
def test_a_maintenance_that_is_killed_leaves_all_readable_and_the_next_one_ends_it(tables: Lake, where: str) -> None:
    with_a_past(tables)
    for seed in (500, 501):
        put(tables, [f"last-{seed}.png"], seed=seed, final=StepResult({"rows": 1}))
    write_fragments(tables, TABLE, pictures(NEW))
    before = content(tables.open(TABLE))
    assert Child(maintain_and_die, tables, where).ends() == -signal.SIGKILL
    assert content(tables.open(TABLE)) == before
    upkeep(tables, keep_last=1)
    assert content(tables.open(TABLE)) == before
    assert len(tables.open(TABLE).get_fragments()) == 1
    assert len(expiries(tables)) == 1
    named = {
        stem_of(file)
        for item in tables.open(TABLE).versions()
        for fragment in tables.open(TABLE, item["version"]).get_fragments()
        for file in fragment.metadata.files
    }
    assert {path.split("/")[1].removesuffix(".lance") for path in data_files(tables) if "data/" in path} == named
    assert not upkeep(tables, keep_last=1).changed
