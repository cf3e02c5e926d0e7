"""Ingest again: only what changed is read, and a row that stays is the same row."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.manifest import ManifestSource
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.settings import S3Settings
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.lake_rows import image_rows, rejections
from mm_assets_tests.kit.steps import ingest, nothing_new


def test_only_changes_are_read_and_a_changed_row_is_a_new_row(
    tables: Lake, here: InProcess, few_pictures: Path
) -> None:
    ingest(tables, here, few_pictures)
    before = image_rows(tables)
    (few_pictures / "pool" / "0.png").unlink()
    Image.new("RGB", (50, 40), "green").save(few_pictures / "pool" / "1.png")
    Image.new("RGB", (30, 20), "red").save(few_pictures / "pool" / "new.png")
    _, record = ingest(tables, here, few_pictures)
    counts = {name: record.metadata[name] for name in ("rows", "rows_computed", "rows_removed", "rows_failed")}
    assert counts == {"rows": 25, "rows_computed": 2, "rows_removed": 1, "rows_failed": 2}
    after = image_rows(tables)
    assert set(after) == set(before) - {"pool/0.png"} | {"pool/new.png"}
    assert {key for key in before if key in after and after[key] != before[key]} == {"pool/1.png"}
    assert (after["pool/1.png"]["width"], after["pool/1.png"]["_rowid"] != before["pool/1.png"]["_rowid"]) == (50, True)


def test_nothing_changed_is_no_commit(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    first = ingest(tables, here, few_pictures)
    versions = tables.open("objects").version, tables.open("images").version
    again = ingest(tables, here, few_pictures)
    assert all(nothing_new(*pair) for pair in zip(again, first, strict=True))
    assert (tables.open("objects").version, tables.open("images").version) == versions


def test_only_a_removal_is_a_commit(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    (few_pictures / "pool" / "0.png").unlink()
    ingest(tables, here, few_pictures)
    assert "pool/0.png" not in image_rows(tables)


def test_other_limits_judge_again_what_they_touch(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures, code="strict", max_pixels=9000)
    assert rejections(tables)["too many pixels"] == 23
    _, record = ingest(tables, here, few_pictures, code="wide", max_pixels=10_000)
    assert rejections(tables) == {"corrupt": 1, "not an image": 1}
    _, record = ingest(tables, here, few_pictures, code="strict", max_pixels=9000)
    assert rejections(tables)["too many pixels"] == 23
    assert record.metadata["rows_computed"] == 25


def test_only_lines_that_changed_are_judged_anew(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    manifest = few_pictures / "list.csv"
    manifest.write_text("uri,image_id\npool/0.png,a\n,a\ngone.png,b\npool/1.png,a\n")
    _, first = ingest(tables, here, manifest)
    assert nothing_new(ingest(tables, here, manifest)[1], first)
    # The same two ids, now of a line that is bad for another reason, and of an object that is fine.
    manifest.write_text("uri,image_id\npool/0.png,a\n1,2,3\ngone.png,b\npool/1.png,a~2\n")
    _, record = ingest(tables, here, manifest)
    assert (record.metadata["rows_computed"], record.metadata["rows_failed"]) == (2, 2)
    found = {key: row["error"] for key, row in image_rows(tables).items()}
    assert found.pop("b").startswith("unreadable: FileNotFoundError")
    assert found == {"a": None, "a~2": None, "line 3": "bad manifest line 3: 3 fields, the first line has 2"}


def test_a_touched_file_keeps_its_row_and_is_not_read_again(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    before = image_rows(tables)
    os.utime(few_pictures / "pool" / "0.png", ns=(1, 1))
    os.utime(few_pictures / "gym" / "7.png", ns=(1, 1))  # rejected; read again, and rejected again
    _, record = ingest(tables, here, few_pictures)
    counts = {name: record.metadata[name] for name in ("rows_computed", "rows_touched", "rows_failed", "rows")}
    assert counts == {"rows_computed": 2, "rows_touched": 1, "rows_failed": 2, "rows": 25}
    after = image_rows(tables)
    touched = after["pool/0.png"]
    assert touched["etag"] != before["pool/0.png"]["etag"]
    assert touched | {"etag": None} == before["pool/0.png"] | {"etag": None}  # the same row, by its row id too
    assert {key for key in before if after[key] != before[key]} == {"pool/0.png", "gym/7.png"}
    _, again = ingest(tables, here, few_pictures)
    assert nothing_new(again, record)


def test_other_words_are_written_without_reading_the_image(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    manifest = few_pictures / "list.csv"
    manifest.write_text("uri,label,caption\npool/0.png,pool,A pool\npool/1.png,pool,Another\n")
    ingest(tables, here, manifest)
    before = image_rows(tables)
    manifest.write_text("uri,label,caption\npool/0.png,spa,A pool\npool/1.png,pool,Another\n")
    source = Unreadable(str(manifest), S3Settings())
    _, record = ingest(tables, here, source)
    assert (record.metadata["rows_computed"], record.metadata["rows_touched"]) == (1, 1)
    after = image_rows(tables)
    assert after["pool/0.png"] == before["pool/0.png"] | {"label": "spa"}
    assert after["pool/1.png"] == before["pool/1.png"]


class Unreadable(ManifestSource):
    """A list of objects that nobody is let near."""

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        raise AssertionError(f"{source_uri} was read")


def test_a_removed_object_stays_where_the_profile_says_so(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures, code="keep", on_removed="keep")
    before = image_rows(tables)
    (few_pictures / "pool" / "0.png").unlink()
    listed, record = ingest(tables, here, few_pictures, code="keep", on_removed="keep")
    assert (listed.metadata["rows"], listed.metadata["rows_removed"]) == (24, 1)
    assert (record.metadata["rows"], record.metadata["rows_removed"]) == (25, 0)
    assert image_rows(tables) == before
    _, record = ingest(tables, here, few_pictures, code="delete", on_removed="delete")
    assert (record.metadata["rows"], record.metadata["rows_removed"], record.metadata["rows_computed"]) == (24, 1, 0)
    assert set(before) - set(image_rows(tables)) == {"pool/0.png"}


def test_more_rejected_rows_than_allowed_fail_the_step_and_keep_the_good_ones(
    tables: Lake, here: InProcess, few_pictures: Path
) -> None:
    sentence = (
        r"image_table: 2 of 25 rows failed \(8.0%\), more than ingest.error_budget \(0.05\) allows; the good rows"
    )
    for _ in range(2):  # it does not get better by itself
        with pytest.raises(BudgetError, match=sentence):
            ingest(tables, here, few_pictures, error_budget=0.05)
        assert len(image_rows(tables)) == 25
    assert heal(History.read(tables), "image_table").record is None
    (few_pictures / "gym" / "7.png").unlink()
    _, record = ingest(tables, here, few_pictures, error_budget=0.05)
    assert (record.metadata["rows_removed"], record.metadata["rows_computed"]) == (1, 0)


def test_a_run_with_an_older_listing_gives_way(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    """What it read is of the past: it must not put it in the place of what a newer listing brought."""
    ingest(tables, here, few_pictures)
    (few_pictures / "pool" / "new.png").write_bytes((few_pictures / "pool" / "0.png").read_bytes())

    def newer() -> None:
        Image.new("RGB", (30, 20), "red").save(few_pictures / "pool" / "newer.png")
        ingest(tables, InProcess(), few_pictures)

    with pytest.raises(
        RefusalError, match=r"bringing image_table to a newer listing \(objects @v4, this one has @v3\)"
    ):
        ingest(tables, Meanwhile(newer), few_pictures)
    assert {"pool/new.png", "pool/newer.png"} < set(image_rows(tables))
    assert heal(History.read(tables), "image_table").record is not None


def test_what_two_runs_read_at_once_is_there_once(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    before = image_rows(tables)
    Image.new("RGB", (30, 20), "red").save(few_pictures / "pool" / "0.png")
    Image.new("RGB", (30, 20), "blue").save(few_pictures / "pool" / "new.png")
    (few_pictures / "pool" / "1.png").unlink()
    found: list[Record] = []
    _, record = ingest(tables, Meanwhile(lambda: found.extend(ingest(tables, InProcess(), few_pictures))), few_pictures)
    assert (record.ref, record.metadata["rows"]) == (found[1].ref, 25)
    keys = tables.open("images").to_table(columns=["image_id"])["image_id"].to_pylist()
    assert sorted(keys) == sorted({*before, "pool/new.png"} - {"pool/1.png"})


class Meanwhile(InProcess):
    """A here on which something else happens between the plan and the first result."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: list[Callable[[], None]] = [act]

    def map_ordered(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        while self._act:
            self._act.pop()()
        return super().map_ordered(*arguments, **named)
