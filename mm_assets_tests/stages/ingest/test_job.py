"""Listing and ingest: every file a row, every bad one a reason, only changes read."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mm_assets.engines.lake.commits import commits_after
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import BATCH
from mm_assets.stages.ingest.job import list_objects
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.lake_rows import image_rows, rejections
from mm_assets_tests.kit.steps import ingest, run_step


def test_every_file_is_a_row_with_its_bytes_or_its_reason(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    _, record = ingest(tables, cluster, few_pictures)
    found = image_rows(tables)
    assert len(found) == 25
    assert rejections(tables) == {"corrupt": 1, "not an image": 1}
    assert record.metadata["failed_for"] == {"corrupt": 1, "not an image": 1}
    assert found["gym/7.png"]["image"] is None
    assert found["gym/7.png"]["sha256"] is not None
    good = [row for row in found.values() if row["error"] is None]
    data = tables.open("images").read_blobs("image", ids=[row["_rowid"] for row in good])
    for row, (_, content) in zip(good, data, strict=True):
        assert content == (few_pictures / row["image_id"]).read_bytes()
        assert (row["format"], row["width"], row["height"], row["label"]) == (
            "PNG",
            96,
            96,
            row["image_id"].split("/")[0],
        )


def test_each_batch_is_a_commit(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures, batch_rows=10)
    batches = [properties[BATCH] for _, properties in commits_after(tables.open("images"), 0)]
    assert batches == ["0", "1", "2", "3"]
    assert len(image_rows(tables)) == 25


@pytest.mark.parametrize(
    ("kind", "options", "limits", "reason"),
    [
        # A progressive JPEG is decoded in many passes over all of its pixels: more than half a second for this one.
        ("JPEG", {"progressive": True}, {"decode_timeout_s": 0.2}, "timeout"),
        ("PNG", {}, {"decode_timeout_s": 60, "decode_memory_bytes": 512 * 2**20}, "too much memory"),
    ],
)
def test_an_image_that_takes_too_long_or_too_much_rejects_itself_alone(
    tables: Lake,
    here: InProcess,
    few_pictures: Path,
    kind: str,
    options: dict[str, Any],
    limits: dict[str, Any],
    reason: str,
) -> None:
    Image.new("RGB", (13_000, 13_000), "red").save(few_pictures / "pool" / "vast", kind, **options)
    ingest(tables, here, few_pictures, max_pixels=170_000_000, **limits)
    assert image_rows(tables)["pool/vast"]["error"].split(":")[0] == reason
    assert rejections(tables) == {"corrupt": 1, "not an image": 1, reason: 1}


def test_another_source_is_refused(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    with pytest.raises(RefusalError, match="set MM_LAKE to a new folder"):
        run_step(tables, lambda step: list_objects(step, tables, FolderSource(str(few_pictures)), "you"), "raw_images")


def test_an_empty_source_is_refused(tables: Lake, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = FolderSource(str(tmp_path / "empty"))
    with pytest.raises(RefusalError, match=f"MM_SOURCE.*no objects in {source.place}"):
        run_step(tables, lambda step: list_objects(step, tables, source, "me"), "raw_images")


def test_malformed_files_among_photos(tables: Lake, here: InProcess, test_data: Path, tmp_path: Path) -> None:
    photos = sorted((test_data / "photos" / "rooms" / "kitchen").iterdir())[:10]
    malformed = sorted((test_data / "malformed").iterdir())
    for label, files in (("kitchen", photos), ("odd", malformed)):
        (tmp_path / "mixed" / label).mkdir(parents=True)
        for path in files:
            (tmp_path / "mixed" / label / path.name).write_bytes(path.read_bytes())
    ingest(tables, here, tmp_path / "mixed")
    found = list(image_rows(tables).values())
    assert len(found) == len(photos) + len(malformed)
    assert {row["image_id"] for row in found if row["error"] is None} == {f"kitchen/{path.name}" for path in photos}
    assert all(row["error"].partition(": ")[2] for row in found if row["error"])


def test_an_empty_source_does_not_claim_the_lake(
    tables: Lake, here: InProcess, few_pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    wrong = FolderSource(str(tmp_path / "empty"))
    with pytest.raises(RefusalError):
        run_step(tables, lambda step: list_objects(step, tables, wrong, "wrong"), "raw_images")
    ingest(tables, here, few_pictures)


def test_rows_are_in_the_order_of_the_listing(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    """Row ids are the age of images: they must not depend on which worker was faster."""
    ingest(tables, cluster, few_pictures, batch_rows=9)
    by_age = [row["image_id"] for row in sorted(image_rows(tables).values(), key=lambda row: row["_rowid"])]
    assert by_age == sorted(by_age)


def test_a_refused_entry_is_a_row_that_is_not_read(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    manifest = few_pictures / "list.csv"
    lines = ["uri,label,caption", "pool/0.png,Terrace/Patio,A roof", "pool/0.png,,", "http://x.test/y.png,,", ",,"]
    manifest.write_text("\n".join([*lines, "1", "gym/7.png,gym,", "gone.png,gym,", ""]))
    listed, stored = ingest(tables, here, manifest)
    objects = tables.open("objects").to_table().to_pylist()
    errors = [row["error"] and row["error"].split(":")[0] for row in objects]
    reasons_of_lines = ["bad manifest line 5", "bad manifest line 6"]
    assert errors == [None, "repeated id", "unsupported uri", *reasons_of_lines, None, None]
    found = image_rows(tables)
    assert (found["pool/0.png"]["label"], found["pool/0.png"]["caption"]) == ("Terrace/Patio", "A roof")
    for row in objects:
        assert row["error"] is None or (found[row["image_id"]]["error"], found[row["image_id"]]["image"]) == (
            row["error"],
            None,
        )
    assert listed.metadata == {
        "rows": 7,
        "rows_considered": 7,
        "rows_computed": 7,
        "rows_reused": 0,
        "rows_failed": 4,
        "rows_removed": 0,
        "bytes": (few_pictures / "pool" / "0.png").stat().st_size + (few_pictures / "gym" / "7.png").stat().st_size,
        "labels": {"Terrace/Patio": 1, "gym": 2},
    }
    # Thousands of bad lines are one reason.
    assert stored.metadata["failed_for"] == {
        "bad manifest line": 2,
        "corrupt": 1,
        "repeated id": 1,
        "unreadable": 1,
        "unsupported uri": 1,
    }


def test_a_batch_is_committed_when_its_time_is_up(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures, batch_seconds=1e-9)
    batches = [properties[BATCH] for _, properties in commits_after(tables.open("images"), 0)]
    assert len(batches) > 2  # each piece of work is one
    assert len(image_rows(tables)) == 25
