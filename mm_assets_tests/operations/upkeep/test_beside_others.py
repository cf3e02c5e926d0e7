"""Maintenance beside other processes: writers that were killed, stopped or go on, and a maintenance that is killed.

Every process here is a real one, and every signal too.
"""

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import lance
import pytest

from mm_assets.engines.lake.commits import FencedError, commit, fence
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.upkeep import cleanup as lance_cleanup
from mm_assets.history.origins import commits_in
from mm_assets.lineage.properties import UPKEEP
from mm_assets.operations.upkeep.job import Upkeep
from mm_assets_tests.kit.child import Child
from mm_assets_tests.kit.past import NEW, TABLE, content, data_files, pictures, put, upkeep, with_a_past


def removed(done: Upkeep) -> int:
    return sum(report.orphans.files for report in done.tables if report.orphans)


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
