"""A store that does not hold conditional PUTs is found out before anything is written."""

from pathlib import Path

import pytest

from mm_assets.engines.store.probe import require_atomic_puts
from mm_assets.engines.store.s3 import client
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import S3Settings
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy, free_port, running_s3

pytestmark = pytest.mark.s3


def keys(bucket: Bucket) -> list[str]:
    found = client(bucket.s3).list_objects_v2(Bucket=bucket.name)
    return [item["Key"] for item in found.get("Contents", [])]


def test_a_store_that_keeps_them_is_taken_and_left_clean(bucket: Bucket) -> None:
    require_atomic_puts(f"{bucket.uri}/lake", bucket.s3)
    require_atomic_puts(bucket.uri, bucket.s3)  # a lake may be a whole bucket
    assert keys(bucket) == []


def test_the_store_of_the_tests_keeps_them_whenever_its_threads_meet(bucket: Bucket, tmp_path: Path) -> None:
    """moto alone let two of eight writers win in 13 of 200 races at this interval, and once in a run of all tests."""
    with running_s3(tmp_path / "server.log", "--switch-interval", "1e-6") as s3:
        client(s3).create_bucket(Bucket="races")
        for number in range(25):
            require_atomic_puts(f"s3://races/{number}", s3)


def test_a_store_that_ignores_the_condition_is_refused(bucket: Bucket, proxy: Proxy) -> None:
    proxy.ignores.add("if-none-match")
    with pytest.raises(RefusalError, match=r"does not keep conditional PUTs .* 8 of 8 writers .*MM_SINGLE_WRITER=true"):
        require_atomic_puts(f"{bucket.uri}/lake", proxy.s3)
    assert keys(bucket) == []


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket) -> None:
    with pytest.raises(RefusalError, match=r"lake \(MM_LAKE\): s3://no-such-bucket/x cannot .*NoSuchBucket"):
        require_atomic_puts("s3://no-such-bucket/x", bucket.s3)


def test_a_store_that_does_not_answer_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RefusalError, match=rf"EndpointConnectionError.*MM_S3__ENDPOINT \({nowhere}\)") as refusal:
        require_atomic_puts(bucket.uri, S3Settings(endpoint=nowhere, addressing="path"))
    assert "no-secret" not in str(refusal.value)


def test_a_store_that_knows_no_conditions_is_refused_with_what_it_is_good_for(bucket: Bucket, proxy: Proxy) -> None:
    proxy.faults.append(Fault("", status=501, code="NotImplemented"))
    with pytest.raises(RefusalError, match=r"knows no conditional PUTs .*may still be the source"):
        require_atomic_puts(f"{bucket.uri}/lake", proxy.s3)
