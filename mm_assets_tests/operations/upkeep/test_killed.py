"""Maintenance at the same time as scoring, and maintenance that is killed wherever it may be."""

import os
import signal
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa
import pytest
from lance.dataset import Tags
from lance.optimize import Compaction

from mm_assets.engines.lake.cells import write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.files import stem_of
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.upkeep import cleanup as lance_cleanup
from mm_assets.lineage.step import StepResult
from mm_assets.operations.upkeep import job
from mm_assets_tests.kit.child import Child
from mm_assets_tests.kit.lake_rows import expiries
from mm_assets_tests.kit.past import NEW, TABLE, content, data_files, pictures, put, row_ids, score, upkeep, with_a_past


def score_for_ever(tables: Lake, pipe: Connection, rounds: int) -> None:
    """Write one cell after the other, each in a commit of its own."""
    pipe.send("begun")
    for value in range(1, rounds + 1):
        for row_id in row_ids(tables)[::7]:
            cells = pa.table({"_rowid": pa.array([row_id], pa.uint64()), "score": pa.array([value], pa.float32())})
            commit(tables, TABLE, partial(write_cells, cells=cells), {})


def test_scoring_and_maintenance_at_once_end_with_the_right_cells(tables: Lake) -> None:
    with_a_past(tables)
    score(tables, 0)
    expected = {row["_rowid"]: row for row in content(tables.open(TABLE))}
    for row_id in row_ids(tables)[::7]:
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
