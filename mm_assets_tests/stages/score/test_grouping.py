"""Near-duplicate groups in the table: they last as images come and go, and cost what changed."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.engines.lake.cells import write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.history.history import History
from mm_assets.history.publish import publish as publish_record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score import grouping
from mm_assets.stages.score.builtin.phash import phash
from mm_assets.stages.score.duplicates import components
from mm_assets.stages.score.grouping import NEAR_DUPLICATES, group_duplicates
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.jobs import cells, group, score
from mm_assets_tests.kit.steps import ingest, run_step

SCHEMA = pa.schema([*IMAGES_SCHEMA, *phash.fields()])
Prepare = Callable[[lance.LanceDataset], lance.LanceOperation.BaseOperation | None]


def publish(tables: Lake, prepare: Prepare) -> None:
    """A commit to the image table that is a materialization of its hashes."""
    assets = ["image_table", phash.asset]

    def job(step: StepContext) -> dict[str, StepResult]:
        finals = dict.fromkeys(assets, StepResult({"rows": 0}))
        tables.open_or_create(IMAGES, SCHEMA, step.properties(assets, 0))
        commit(tables, IMAGES, prepare, step.properties(assets, 1, finals))
        return finals

    run_step(tables, job, *assets)


def put(tables: Lake, hashes: dict[str, int], drop: tuple[str, ...] = ()) -> None:
    """Put new rows in (also in place of others), and take rows out."""
    digests = [hashlib.sha256(f"{key}{value}".encode()).hexdigest() for key, value in hashes.items()]
    known = {"image_id": list(hashes), "sha256": digests, "phash": list(hashes.values())}
    columns = {name: known.get(name, [None] * len(hashes)) for name in SCHEMA.names}
    table = pa.table({**columns, "image": lance.blob_array(columns["image"])}, schema=SCHEMA)

    def prepare(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        fragments = write_fragments(tables, IMAGES, table) if hashes else []
        return replace_rows(ds, "image_id", [*drop, *hashes], fragments)

    publish(tables, prepare)


def rehash(tables: Lake, hashes: dict[str, int | None]) -> None:
    """Other hashes of the same bytes."""

    def prepare(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        rows = ds.scanner(columns=["image_id"], with_row_id=True).to_table()
        ids = dict(zip(rows["image_id"].to_pylist(), rows["_rowid"].to_pylist(), strict=True))
        columns = {"_rowid": [ids[key] for key in hashes], "phash": list(hashes.values())}
        return write_cells(ds, pa.table(columns, schema=pa.schema([("_rowid", pa.uint64()), SCHEMA.field("phash")])))

    publish(tables, prepare)


def groups(tables: Lake) -> dict[str, str]:
    return {key: name for key, (name,) in cells(tables, "group_id").items()}


def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many hashes each pass from now on compares with all others."""
    counts: list[int] = []

    def count(hashes: np.ndarray, max_distance: int, known: np.ndarray | None) -> np.ndarray:
        counts.append(len(hashes) if known is None else int((known < 0).sum()))
        return components(hashes, max_distance, known)

    monkeypatch.setattr(grouping, "components", count)
    return counts


def test_only_new_hashes_and_groups_that_lost_one_are_compared(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = compared(monkeypatch)
    # a - b - c is a chain; d - e are a pair; the others are alone.
    put(tables, {"a": 0, "b": 3, "c": 15, "d": 15 << 30, "e": 31 << 30, "f": 255 << 40, "g": 255 << 50})
    first = group(tables)
    assert (counts, first.metadata["groups"]) == ([7], 4)
    put(tables, {"h": 254 << 50})
    second = group(tables)
    assert counts == [7, 1]
    assert [second.metadata[f"rows_{what}"] for what in ("considered", "computed", "reused", "removed")] == [8, 1, 7, 0]
    assert groups(tables)["h"] == "g"
    put(tables, {}, drop=("b", "f"))
    third = group(tables)
    assert counts == [7, 1, 2]  # a and c
    assert [third.metadata[f"rows_{what}"] for what in ("computed", "reused", "removed")] == [1, 5, 2]
    assert groups(tables) == {"a": "a", "c": "c", "d": "d", "e": "d", "g": "g", "h": "g"}
    assert {key: name for key, (name,) in cells(tables, "first_group_id").items()}["c"] == "a"
    version = tables.open(IMAGES).version
    assert group(tables).ref == third.ref
    assert (counts[3:], tables.open(IMAGES).version) == ([0], version)


def test_a_pass_that_wrote_nothing_is_built_on(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tables, {"a": 0, "b": 255, "c": 255 << 20})
    first = group(tables)
    put(tables, {}, drop=("c",))
    said = []

    def note(step: StepContext) -> StepResult:
        said.append((step, group_duplicates(step, tables, 2)))
        return said[0][1]

    run_step(tables, note, NEAR_DUPLICATES, inputs=("scores/phash",))
    ((step, final),) = said
    assert (final.metadata["rows_computed"], final.metadata["rows_removed"]) == (0, 1)
    assert publish_record(History.read(tables), step, NEAR_DUPLICATES, final).ref == first.ref
    counts = compared(monkeypatch)
    put(tables, {"d": 255 << 30})
    assert (group(tables).metadata["rows_removed"], counts) == (0, [1])


@pytest.mark.parametrize("seed", range(3))
def test_a_refresh_gives_what_comparing_all_gives(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    refreshed, whole = Lake(str(tmp_path / "refreshed")), Lake(str(tmp_path / "whole"))
    centres = rng.integers(0, 2**63, 5, dtype=np.uint64)
    there: dict[str, int] = {}
    counts = compared(monkeypatch)
    totals = {refreshed: 0, whole: 0}

    def near() -> int:
        flipped = rng.choice(64, rng.integers(0, 4), replace=False)
        return int(rng.choice(centres)) ^ sum(1 << int(bit) for bit in flipped)

    def some(most: int) -> list[str]:
        return rng.choice(sorted(there), min(len(there), int(rng.integers(0, most))), replace=False).tolist()

    for number in range(10):
        again = {key: near() for key in some(3)}
        new = {f"{chr(ord('z') - number)}{place}": near() for place in range(rng.integers(1, 6))}
        drop = tuple(key for key in some(5) if key not in again)
        there = {key: value for key, value in there.items() if key not in drop} | again | new
        others: dict[str, Any] = {key: None if rng.random() < 0.3 else near() for key in some(3)}
        for tables, code in ((refreshed, "1"), (whole, str(number))):
            counts.clear()
            put(tables, again | new, drop)
            if others:
                rehash(tables, others)
            if number % 3 == 2:
                tables.open(IMAGES).optimize.compact_files()
            group(tables, 2, code)
            totals[tables] += sum(counts)
        columns = ("phash", "group_id", "first_group_id", "near_duplicates_rev")
        assert cells(refreshed, *columns) == cells(whole, *columns)
        rows = [row for row in cells(refreshed, *columns).values() if row[0] is not None]
        roots = components(np.array([row[0] for row in rows], np.uint64), 2)
        pairs = set(zip(roots.tolist(), (row[1] for row in rows), strict=True))
        assert len(pairs) == len({root for root, _ in pairs}) == len({name for _, name in pairs})
    assert totals[refreshed] < 0.8 * totals[whole]


def test_a_run_that_was_overtaken_compares_again(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tables, {"a": 0, "b": 3})
    group(tables)
    put(tables, {"c": 15, "d": 63})
    real = grouping._regroup
    overtaken: list[Any] = []

    def first_another(*arguments: Any) -> Any:
        done = real(*arguments)
        if not overtaken:
            overtaken.append(done)
            put(tables, {}, drop=("b",))
            group(tables, 8)
        return done

    monkeypatch.setattr(grouping, "_regroup", first_another)
    group(tables, 2)
    # What a run alone gives after the other one: c and d keep the group that they first had.
    assert cells(tables, "first_group_id", "near_duplicates_rev") == dict.fromkeys("acd", ("a", "1-2"))


def test_what_another_run_left_is_not_built_on(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tables, {"a": 0, "b": 3})
    mine = group(tables)
    put(tables, {"c": 1 << 40})
    counts = compared(monkeypatch)
    group(tables)
    with monkeypatch.context() as patch:
        patch.setattr(StepContext, "last_record", lambda *_: mine)  # as a run sees it that began before the other one
        group(tables)
    assert counts == [1, 3]


def test_groups_last_as_images_come(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, phash)
    group(tables)
    before = cells(tables, "group_id", "first_group_id")
    assert before["notes.txt"] == (None, None)
    assert before["pool/3.png"] == ("pool/3.png", "pool/3.png")
    picture = Image.open(few_pictures / "pool" / "3.png")
    picture.resize((120, 120)).save(few_pictures / "beach" / "again.png")
    ingest(tables, here, few_pictures)
    score(tables, here, phash)
    record = group(tables)
    assert record.metadata["rows_computed"] == 1
    after = cells(tables, "group_id", "first_group_id")
    assert after["beach/again.png"] == ("pool/3.png", "pool/3.png")
    assert {key: after[key] for key in before} == before


def test_a_row_keeps_its_first_group_when_groups_join(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, phash)
    group(tables, 0)
    before = cells(tables, "group_id", "first_group_id")
    group(tables, 12)
    after = cells(tables, "group_id", "first_group_id")
    assert {key: first for key, (_, first) in after.items()} == {key: first for key, (_, first) in before.items()}
    assert len({now for now, _ in after.values()}) <= len({now for now, _ in before.values()})
