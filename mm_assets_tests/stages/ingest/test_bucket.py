"""Ingest from a bucket: as from a folder, and what its errors mean for rows and for the job."""

import hashlib
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.bucket import S3Source
from mm_assets.engines.workers.cluster import Cluster
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.lake_rows import image_rows
from mm_assets_tests.kit.steps import ingest
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy


@pytest.mark.s3
def test_a_bucket_is_ingested_as_a_folder_is(
    tables: Lake, cluster: Cluster, few_pictures: Path, bucket: Bucket
) -> None:
    source = S3Source(bucket.put_folder(few_pictures, "photos"), bucket.s3)
    listed, record = ingest(tables, cluster, source)
    assert listed.metadata["rows"] == 25
    assert record.metadata["failed_for"] == {"corrupt": 1, "not an image": 1}
    for key, row in image_rows(tables).items():
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
    assert image_rows(tables) == {}
    proxy.faults.pop()
    _, record = ingest(tables, cluster, source)
    assert record.metadata["failed_for"] == {"corrupt": 1, "not an image": 1, "unreadable": 1}


@pytest.mark.s3
def test_a_bucket_that_lets_nothing_be_read_ends_the_job(
    tables: Lake, here: InProcess, few_pictures: Path, bucket: Bucket, proxy: Proxy
) -> None:
    """Else a forgotten permission would make every good object a row with an error."""
    picture = (few_pictures / "pool" / "0.png").read_bytes()
    bucket.put_all({f"photos/pool/{number}.png": picture for number in range(60)})
    proxy.faults.append(Fault(".png", status=403, code="AccessDenied"))
    with pytest.raises(RuntimeError, match=r"none of \d+ objects could be read \(unreadable: AccessDenied"):
        ingest(tables, here, S3Source(f"{bucket.uri}/photos", proxy.s3))
    assert tables.open("images").count_rows() == 0


@pytest.mark.s3
def test_rejected_objects_are_read_again_only_when_asked(
    tables: Lake, here: InProcess, few_pictures: Path, bucket: Bucket, proxy: Proxy
) -> None:
    source = S3Source(bucket.put_folder(few_pictures, "photos"), proxy.s3)
    proxy.faults = [Fault("pool/3.png", status=403, code="AccessDenied")]
    ingest(tables, here, source)
    before = image_rows(tables)
    proxy.faults = []
    ingest(tables, here, source)
    assert image_rows(tables) == before
    asked = len(proxy.requests)
    _, record = ingest(tables, here, source, retry_errors=True)
    assert (record.metadata["rows_computed"], record.metadata["rows_failed"]) == (3, 2)
    assert image_rows(tables)["pool/3.png"]["error"] is None
    assert sum("GET" in line and "/photos/" in line for line in proxy.requests[asked:]) == 3
