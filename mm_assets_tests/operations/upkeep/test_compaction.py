"""Compaction: what it keeps, when it has nothing to do, and what a running writer makes of it."""

from typing import Any

import pytest
from lance.optimize import Compaction

from mm_assets.engines.lake.files import Weights, files_of
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.lake.upkeep import compaction as lance_compaction
from mm_assets.engines.lake.upkeep.compaction import compact
from mm_assets_tests.kit.past import TABLE, content, put, score, with_a_past

TARGET = 400_000


@pytest.fixture
def tables(anywhere: Lake) -> Lake:
    with_a_past(anywhere)
    return anywhere


def sizes(tables: Lake) -> list[int]:
    weights = Weights(files_of(tables, TABLE))
    return [weights.of(fragment.metadata) for fragment in tables.open(TABLE).get_fragments()]


def data_files(tables: Lake) -> set[str]:
    return {path for path in files_of(tables, TABLE) if path.startswith("data/")}


def test_compaction_keeps_cells_images_row_ids_and_row_versions(tables: Lake) -> None:
    before, small = content(tables.open(TABLE)), sizes(tables)
    done = compact(tables, TABLE, TARGET, print)
    after = sizes(tables)
    assert content(tables.open(TABLE)) == before
    assert (done.removed, done.added, done.skipped) == (len(small), len(after), False)
    assert all(TARGET / 2 <= size <= 2 * TARGET for size in after), after
    assert all(fragment.metadata.deletion_file is None for fragment in tables.open(TABLE).get_fragments())


def test_files_that_are_large_enough_are_not_written_again(tables: Lake) -> None:
    compact(tables, TABLE, TARGET, print)
    version, files = tables.open(TABLE).version, data_files(tables)
    assert compact(tables, TABLE, TARGET, print) == lance_compaction.Compacted()
    assert tables.open(TABLE).version == version
    large = {file.path for fragment in tables.open(TABLE).get_fragments() for file in fragment.metadata.files}
    for seed in (1000, 1001):
        put(tables, [f"new-{seed}.png"], seed=seed)
    assert compact(tables, TABLE, TARGET, print).removed == 2
    now = {file.path for fragment in tables.open(TABLE).get_fragments() for file in fragment.metadata.files}
    assert large < now
    assert files < data_files(tables)


def test_a_large_file_of_which_many_rows_were_removed_is_written_anew(tables: Lake) -> None:
    compact(tables, TABLE, 10 * TARGET, print)
    put(tables, ["one.png"], drop=tuple(f"{number:03}.png" for number in range(40, 60)), seed=1)
    before = content(tables.open(TABLE))
    compact(tables, TABLE, 2 * TARGET, print)
    assert content(tables.open(TABLE)) == before
    assert all(fragment.metadata.deletion_file is None for fragment in tables.open(TABLE).get_fragments())


def test_a_writer_that_always_comes_first_leaves_the_table_to_the_next_time(
    tables: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter(range(1, 100))
    commit = Compaction.commit

    class Late:
        plan = Compaction.plan

        @staticmethod
        def commit(*arguments: Any) -> Any:
            score(tables, next(values))
            return commit(*arguments)

    monkeypatch.setattr(lance_compaction, "Compaction", Late)
    fragments = len(tables.open(TABLE).get_fragments())
    done = compact(tables, TABLE, 10 * TARGET, print)
    assert (done.removed, done.added, done.skipped) == (0, 0, True)
    now = tables.open(TABLE)
    assert len(now.get_fragments()) == fragments
    assert {row["score"] for row in content(now)} == {3.0}
    # What it wrote in vain is gone.
    named = {
        file.path.removesuffix(".lance")
        for item in now.versions()
        for fragment in tables.open(TABLE, item["version"]).get_fragments()
        for file in fragment.metadata.files
    }
    assert {path.split("/")[1].removesuffix(".lance") for path in data_files(tables)} == named


def test_files_of_a_commit_that_was_made_although_it_seemed_refused_stay(
    tables: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Compaction.commit

    class Lost:
        plan = Compaction.plan

        @staticmethod
        def commit(*arguments: Any) -> Any:
            commit(*arguments)
            raise OSError("Retryable commit conflict for version 7")

    before = content(tables.open(TABLE))
    monkeypatch.setattr(lance_compaction, "Compaction", Lost)
    compact(tables, TABLE, 10 * TARGET, print)
    assert content(tables.open(TABLE)) == before
    assert len(tables.open(TABLE).get_fragments()) == 1
