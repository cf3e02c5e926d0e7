"""Listing and ingest on Ray: every file a row, every bad one a reason, only changes read."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mm_assets.engines.lake.commits import commits_after
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.bucket import S3Source
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.sources.manifest import ManifestSource
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import BATCH
from mm_assets.lineage.records import Record
from mm_assets.settings import S3Settings
from mm_assets.stages.ingest.job import list_objects
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.steps import ingest, nothing_new, run_step
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy

pytestmark = pytest.mark.ray


def rows(tables: Lake) -> dict[str, dict[str, Any]]:
    found = tables.open("images").to_table(with_row_id=True).to_pylist()
    return {row["image_id"]: row for row in found}


def reasons(tables: Lake) -> Counter[str]:
    return Counter(row["error"].split(":")[0] for row in rows(tables).values() if row["error"])


def test_every_file_is_a_row_with_its_bytes_or_its_reason(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    _, record = ingest(tables, cluster, few_pictures)
    found = rows(tables)
    assert len(found) == 25
    assert reasons(tables) == {"corrupt": 1, "not an image": 1}
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


def test_only_changes_are_read_and_a_changed_row_is_a_new_row(
    tables: Lake, cluster: Cluster, few_pictures: Path
) -> None:
    ingest(tables, cluster, few_pictures)
    before = rows(tables)
    (few_pictures / "pool" / "0.png").unlink()
    Image.new("RGB", (50, 40), "green").save(few_pictures / "pool" / "1.png")
    Image.new("RGB", (30, 20), "red").save(few_pictures / "pool" / "new.png")
    _, record = ingest(tables, cluster, few_pictures)
    counts = {name: record.metadata[name] for name in ("rows", "rows_computed", "rows_removed", "rows_failed")}
    assert counts == {"rows": 25, "rows_computed": 2, "rows_removed": 1, "rows_failed": 2}
    after = rows(tables)
    assert set(after) == set(before) - {"pool/0.png"} | {"pool/new.png"}
    assert {key for key in before if key in after and after[key] != before[key]} == {"pool/1.png"}
    assert (after["pool/1.png"]["width"], after["pool/1.png"]["_rowid"] != before["pool/1.png"]["_rowid"]) == (50, True)


def test_nothing_changed_is_no_commit(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    first = ingest(tables, cluster, few_pictures)
    versions = tables.open("objects").version, tables.open("images").version
    again = ingest(tables, cluster, few_pictures)
    assert all(nothing_new(*pair) for pair in zip(again, first, strict=True))
    assert (tables.open("objects").version, tables.open("images").version) == versions


def test_only_a_removal_is_a_commit(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    (few_pictures / "pool" / "0.png").unlink()
    ingest(tables, cluster, few_pictures)
    assert "pool/0.png" not in rows(tables)


def test_each_batch_is_a_commit(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures, batch_rows=10)
    batches = [properties[BATCH] for _, properties in commits_after(tables.open("images"), 0)]
    assert batches == ["0", "1", "2", "3"]
    assert len(rows(tables)) == 25


@pytest.mark.parametrize(
    ("kind", "options", "limits", "reason"),
    [
        # A progressive JPEG is decoded in many passes over all of its pixels: some seconds for this one.
        ("JPEG", {"progressive": True}, {"decode_timeout_s": 0.7}, "timeout"),
        ("PNG", {}, {"decode_timeout_s": 60, "decode_memory_bytes": 512 * 2**20}, "too much memory"),
    ],
)
def test_an_image_that_takes_too_long_or_too_much_rejects_itself_alone(
    tables: Lake,
    cluster: Cluster,
    few_pictures: Path,
    kind: str,
    options: dict[str, Any],
    limits: dict[str, Any],
    reason: str,
) -> None:
    Image.new("RGB", (13_000, 13_000), "red").save(few_pictures / "pool" / "vast", kind, **options)
    ingest(tables, cluster, few_pictures, max_pixels=170_000_000, **limits)
    assert rows(tables)["pool/vast"]["error"].split(":")[0] == reason
    assert reasons(tables) == {"corrupt": 1, "not an image": 1, reason: 1}


def test_other_limits_judge_again_what_they_touch(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures, code="strict", max_pixels=9000)
    assert reasons(tables)["too many pixels"] == 23
    _, record = ingest(tables, cluster, few_pictures, code="wide", max_pixels=10_000)
    assert reasons(tables) == {"corrupt": 1, "not an image": 1}
    _, record = ingest(tables, cluster, few_pictures, code="strict", max_pixels=9000)
    assert reasons(tables)["too many pixels"] == 23
    assert record.metadata["rows_computed"] == 25


def test_another_source_is_refused(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    with pytest.raises(RefusalError, match="set MM_LAKE to a new folder"):
        run_step(tables, lambda step: list_objects(step, tables, FolderSource(str(few_pictures)), "you"), "raw_images")


def test_an_empty_source_is_refused(tables: Lake, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = FolderSource(str(tmp_path / "empty"))
    with pytest.raises(RefusalError, match=f"MM_SOURCE.*no objects in {source.place}"):
        run_step(tables, lambda step: list_objects(step, tables, source, "me"), "raw_images")


def test_malformed_files_among_photos(tables: Lake, cluster: Cluster, test_data: Path, tmp_path: Path) -> None:
    photos = sorted((test_data / "photos" / "rooms" / "kitchen").iterdir())[:10]
    malformed = sorted((test_data / "malformed").iterdir())
    for label, files in (("kitchen", photos), ("odd", malformed)):
        (tmp_path / "mixed" / label).mkdir(parents=True)
        for path in files:
            (tmp_path / "mixed" / label / path.name).write_bytes(path.read_bytes())
    ingest(tables, cluster, tmp_path / "mixed")
    found = list(rows(tables).values())
    assert len(found) == len(photos) + len(malformed)
    assert {row["image_id"] for row in found if row["error"] is None} == {f"kitchen/{path.name}" for path in photos}
    assert all(row["error"].partition(": ")[2] for row in found if row["error"])


def test_an_empty_source_does_not_claim_the_lake(
    tables: Lake, cluster: Cluster, few_pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    wrong = FolderSource(str(tmp_path / "empty"))
    with pytest.raises(RefusalError):
        run_step(tables, lambda step: list_objects(step, tables, wrong, "wrong"), "raw_images")
    ingest(tables, cluster, few_pictures)


def test_rows_are_in_the_order_of_the_listing(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    """Row ids are the age of images: they must not depend on which worker was faster."""
    ingest(tables, cluster, few_pictures, batch_rows=9)
    by_age = [row["image_id"] for row in sorted(rows(tables).values(), key=lambda row: row["_rowid"])]
    assert by_age == sorted(by_age)


def test_a_refused_entry_is_a_row_that_is_not_read(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    manifest = few_pictures / "list.csv"
    lines = ["uri,label,caption", "pool/0.png,Terrace/Patio,A roof", "pool/0.png,,", "http://x.test/y.png,,", ",,"]
    manifest.write_text("\n".join([*lines, "1", "gym/7.png,gym,", "gone.png,gym,", ""]))
    listed, stored = ingest(tables, cluster, manifest)
    objects = tables.open("objects").to_table().to_pylist()
    errors = [row["error"] and row["error"].split(":")[0] for row in objects]
    reasons_of_lines = ["bad manifest line 5", "bad manifest line 6"]
    assert errors == [None, "repeated id", "unsupported uri", *reasons_of_lines, None, None]
    found = rows(tables)
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


def test_only_lines_that_changed_are_judged_anew(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    manifest = few_pictures / "list.csv"
    manifest.write_text("uri,image_id\npool/0.png,a\n,a\ngone.png,b\npool/1.png,a\n")
    _, first = ingest(tables, cluster, manifest)
    assert nothing_new(ingest(tables, cluster, manifest)[1], first)
    # The same two ids, now of a line that is bad for another reason, and of an object that is fine.
    manifest.write_text("uri,image_id\npool/0.png,a\n1,2,3\ngone.png,b\npool/1.png,a~2\n")
    _, record = ingest(tables, cluster, manifest)
    assert (record.metadata["rows_computed"], record.metadata["rows_failed"]) == (2, 2)
    found = {key: row["error"] for key, row in rows(tables).items()}
    assert found.pop("b").startswith("unreadable: FileNotFoundError")
    assert found == {"a": None, "a~2": None, "line 3": "bad manifest line 3: 3 fields, the first line has 2"}


@pytest.mark.s3
def test_a_bucket_is_ingested_as_a_folder_is(
    tables: Lake, cluster: Cluster, few_pictures: Path, bucket: Bucket
) -> None:
    source = S3Source(bucket.put_folder(few_pictures, "photos"), bucket.s3)
    listed, record = ingest(tables, cluster, source)
    assert listed.metadata["rows"] == 25
    assert record.metadata["failed_for"] == {"corrupt": 1, "not an image": 1}
    for key, row in rows(tables).items():
        assert row["sha256"] == hashlib.sha256((few_pictures / key).read_bytes()).hexdigest()
    bucket.put("photos/pool/0.png", (few_pictures / "pool" / "1.png").read_bytes())
    bucket.delete("photos/pool/2.png")
    _, record = ingest(tables, cluster, source)
    assert (record.metadata["rows_computed"], record.metadata["rows_removed"]) == (1, 1)


@pytest.mark.s3
def test_an_outage_ends_the_job_and_spoils_no_row(
    tables: Lake, cluster: Cluster, few_pictures: Path, bucket: Bucket, proxy: Proxy
) -> None:
    source = S3Source(bucket.put_folder(few_pictures, "photos"), proxy.s3)
    proxy.faults = [
        Fault("pool/3.png", status=403, code="AccessDenied"),
        Fault("pool/4.png", status=403, code="ExpiredToken"),
    ]
    with pytest.raises(Exception, match="ExpiredToken"):
        ingest(tables, cluster, source)
    assert rows(tables) == {}
    proxy.faults.pop()
    _, record = ingest(tables, cluster, source)
    assert record.metadata["failed_for"] == {"corrupt": 1, "not an image": 1, "unreadable": 1}


@pytest.mark.s3
def test_a_bucket_that_lets_nothing_be_read_ends_the_job(
    tables: Lake, cluster: Cluster, few_pictures: Path, bucket: Bucket, proxy: Proxy
) -> None:
    """Else a forgotten permission would make every good object a row with an error."""
    picture = (few_pictures / "pool" / "0.png").read_bytes()
    bucket.put_all({f"photos/pool/{number}.png": picture for number in range(60)})
    proxy.faults.append(Fault(".png", status=403, code="AccessDenied"))
    with pytest.raises(RuntimeError, match=r"none of \d+ objects could be read \(unreadable: AccessDenied"):
        ingest(tables, cluster, S3Source(f"{bucket.uri}/photos", proxy.s3))
    assert tables.open("images").count_rows() == 0


def test_a_touched_file_keeps_its_row_and_is_not_read_again(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    before = rows(tables)
    os.utime(few_pictures / "pool" / "0.png", ns=(1, 1))
    os.utime(few_pictures / "gym" / "7.png", ns=(1, 1))  # rejected; read again, and rejected again
    _, record = ingest(tables, cluster, few_pictures)
    counts = {name: record.metadata[name] for name in ("rows_computed", "rows_touched", "rows_failed", "rows")}
    assert counts == {"rows_computed": 2, "rows_touched": 1, "rows_failed": 2, "rows": 25}
    after = rows(tables)
    touched = after["pool/0.png"]
    assert touched["etag"] != before["pool/0.png"]["etag"]
    assert touched | {"etag": None} == before["pool/0.png"] | {"etag": None}  # the same row, by its row id too
    assert {key for key in before if after[key] != before[key]} == {"pool/0.png", "gym/7.png"}
    _, again = ingest(tables, cluster, few_pictures)
    assert nothing_new(again, record)


def test_other_words_are_written_without_reading_the_image(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    manifest = few_pictures / "list.csv"
    manifest.write_text("uri,label,caption\npool/0.png,pool,A pool\npool/1.png,pool,Another\n")
    ingest(tables, cluster, manifest)
    before = rows(tables)
    manifest.write_text("uri,label,caption\npool/0.png,spa,A pool\npool/1.png,pool,Another\n")
    source = Unreadable(str(manifest), S3Settings())
    _, record = ingest(tables, cluster, source)
    assert (record.metadata["rows_computed"], record.metadata["rows_touched"]) == (1, 1)
    after = rows(tables)
    assert after["pool/0.png"] == before["pool/0.png"] | {"label": "spa"}
    assert after["pool/1.png"] == before["pool/1.png"]


class Unreadable(ManifestSource):
    """A list of objects that nobody is let near."""

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        raise AssertionError(f"{source_uri} was read")


def test_a_removed_object_stays_where_the_profile_says_so(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures, code="keep", on_removed="keep")
    before = rows(tables)
    (few_pictures / "pool" / "0.png").unlink()
    listed, record = ingest(tables, cluster, few_pictures, code="keep", on_removed="keep")
    assert (listed.metadata["rows"], listed.metadata["rows_removed"]) == (24, 1)
    assert (record.metadata["rows"], record.metadata["rows_removed"]) == (25, 0)
    assert rows(tables) == before
    _, record = ingest(tables, cluster, few_pictures, code="delete", on_removed="delete")
    assert (record.metadata["rows"], record.metadata["rows_removed"], record.metadata["rows_computed"]) == (24, 1, 0)
    assert set(before) - set(rows(tables)) == {"pool/0.png"}


@pytest.mark.s3
def test_rejected_objects_are_read_again_only_when_asked(
    tables: Lake, cluster: Cluster, few_pictures: Path, bucket: Bucket, proxy: Proxy
) -> None:
    source = S3Source(bucket.put_folder(few_pictures, "photos"), proxy.s3)
    proxy.faults = [Fault("pool/3.png", status=403, code="AccessDenied")]
    ingest(tables, cluster, source)
    before = rows(tables)
    proxy.faults = []
    ingest(tables, cluster, source)
    assert rows(tables) == before
    asked = len(proxy.requests)
    _, record = ingest(tables, cluster, source, retry_errors=True)
    assert (record.metadata["rows_computed"], record.metadata["rows_failed"]) == (3, 2)
    assert rows(tables)["pool/3.png"]["error"] is None
    assert sum("GET" in line and "/photos/" in line for line in proxy.requests[asked:]) == 3


def test_more_rejected_rows_than_allowed_fail_the_step_and_keep_the_good_ones(
    tables: Lake, cluster: Cluster, few_pictures: Path
) -> None:
    sentence = (
        r"image_table: 2 of 25 rows failed \(8.0%\), more than ingest.error_budget \(0.05\) allows; the good rows"
    )
    for _ in range(2):  # it does not get better by itself
        with pytest.raises(BudgetError, match=sentence):
            ingest(tables, cluster, few_pictures, error_budget=0.05)
        assert len(rows(tables)) == 25
    assert heal(History.read(tables), "image_table").record is None
    (few_pictures / "gym" / "7.png").unlink()
    _, record = ingest(tables, cluster, few_pictures, error_budget=0.05)
    assert (record.metadata["rows_removed"], record.metadata["rows_computed"]) == (1, 0)


def test_a_run_with_an_older_listing_gives_way(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    """What it read is of the past: it must not put it in the place of what a newer listing brought."""
    ingest(tables, cluster, few_pictures)
    (few_pictures / "pool" / "new.png").write_bytes((few_pictures / "pool" / "0.png").read_bytes())

    def newer() -> None:
        Image.new("RGB", (30, 20), "red").save(few_pictures / "pool" / "newer.png")
        ingest(tables, InProcess(), few_pictures)

    with pytest.raises(
        RefusalError, match=r"bringing image_table to a newer listing \(objects @v4, this one has @v3\)"
    ):
        ingest(tables, Meanwhile(newer), few_pictures)
    assert {"pool/new.png", "pool/newer.png"} < set(rows(tables))
    assert heal(History.read(tables), "image_table").record is not None


def test_what_two_runs_read_at_once_is_there_once(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    before = rows(tables)
    Image.new("RGB", (30, 20), "red").save(few_pictures / "pool" / "0.png")
    Image.new("RGB", (30, 20), "blue").save(few_pictures / "pool" / "new.png")
    (few_pictures / "pool" / "1.png").unlink()
    found: list[Record] = []
    _, record = ingest(tables, Meanwhile(lambda: found.extend(ingest(tables, InProcess(), few_pictures))), few_pictures)
    assert (record.ref, record.metadata["rows"]) == (found[1].ref, 25)
    keys = tables.open("images").to_table(columns=["image_id"])["image_id"].to_pylist()
    assert sorted(keys) == sorted({*before, "pool/new.png"} - {"pool/1.png"})


class Meanwhile(InProcess):
    """A cluster on which something else happens between the plan and the first result."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: list[Callable[[], None]] = [act]

    def map_ordered(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        while self._act:
            self._act.pop()()
        return super().map_ordered(*arguments, **named)


def test_a_batch_is_committed_when_its_time_is_up(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures, batch_seconds=1e-9)
    batches = [properties[BATCH] for _, properties in commits_after(tables.open("images"), 0)]
    assert len(batches) > 2  # each piece of work is one
    assert len(rows(tables)) == 25
