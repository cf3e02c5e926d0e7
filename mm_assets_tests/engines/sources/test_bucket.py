"""A bucket is listed and read as a folder is; what is wrong with one object is told from a fault of the store."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from mm_assets.engines.sources import s3_objects
from mm_assets.engines.sources.bucket import S3Source
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.store import s3
from mm_assets.images import ImageError
from mm_assets.lineage.errors import RefusalError
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy, free_port

pytestmark = pytest.mark.s3

NAMES = [
    "plain.jpg",
    "two words.jpg",
    "a#b?c.jpg",
    "a+b&c.jpg",
    "100%41.jpg",
    "h\u00f4tel \u2603.png",
    "back\\slash.jpg",
    'it\'s "so".jpg',
    "pool/deep/er.jpg",
    "pool/.hidden",
    "pool-2/near.jpg",
]


def folder_of(path: Path, names: list[str]) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode())
    return path


def test_a_folder_copied_to_a_bucket_gives_the_same_rows(bucket: Bucket, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", NAMES)
    expected = FolderSource(str(folder)).list(print)
    for uri in (bucket.put_folder(folder, "a/b"), bucket.put_folder(folder, "100% caf\u00e9")):
        source = S3Source(uri, bucket.s3)
        found = source.list(print)
        assert found.drop_columns("etag").equals(expected.drop_columns("etag"))
        content = {source.read(row, 1000).decode() for row in found["source_uri"].to_pylist()}
        assert content == set(NAMES)


def test_a_line_break_in_a_key_survives(bucket: Bucket, proxy: Proxy) -> None:
    """The server of the tests takes no such key, so the proxy says that there is one."""
    entry = "<Contents><Key>line%0Abreak.jpg</Key><ETag>&quot;1&quot;</ETag><Size>1</Size></Contents>"
    page = f"<ListBucketResult><EncodingType>url</EncodingType>{entry}</ListBucketResult>"
    proxy.faults = [Fault(bucket.name, document=page)]
    source = S3Source(bucket.uri, proxy.s3)
    assert source.list(print).select(["image_id", "source_uri"]).to_pylist() == [
        {"image_id": "line\nbreak.jpg", "source_uri": "line%0Abreak.jpg"}
    ]
    with pytest.raises(ImageError):
        source.read("line%0Abreak.jpg", 10)
    assert proxy.requests[-1].split("?")[0] == f"GET /{bucket.name}/line%0Abreak.jpg"


def test_a_prefix_ends_at_a_slash_and_folders_are_no_images(bucket: Bucket) -> None:
    for key in ("a/b/x", "a/b/pool/y", "a/bc/z", "a/b"):
        bucket.put(key, b"1")
    for key in ("a/b/", "a/b/empty/"):
        bucket.put(key, b"")
    bucket.put("a/b/odd/", b"2")
    assert S3Source(f"{bucket.uri}/a/b", bucket.s3).list(print)["image_id"].to_pylist() == ["odd/", "pool/y", "x"]
    whole = S3Source(bucket.uri, bucket.s3).list(print).to_pylist()
    assert {row["image_id"]: row["label"] for row in whole} == {
        "a/b": "a",
        "a/b/odd/": "a",
        "a/b/pool/y": "a",
        "a/b/x": "a",
        "a/bc/z": "a",
    }


def test_the_etag_has_no_quotes_and_follows_changes(bucket: Bucket) -> None:
    source = S3Source(bucket.uri, bucket.s3)
    bucket.put("x", b"1")
    assert source.list(print)["etag"].to_pylist() == ["c4ca4238a0b923820dcc509a6f75849b"]
    bucket.put("x", b"2")
    assert source.list(print)["etag"].to_pylist() == ["c81e728d9d4c2f636f067f89cc14862c"]


def test_more_than_a_page_is_listed(bucket: Bucket) -> None:
    bucket.put_all({f"many/{number:04}": b"1" for number in range(1003)})
    listed = S3Source(f"{bucket.uri}/many", bucket.s3).list(print)
    assert listed["image_id"].to_pylist() == [f"{number:04}" for number in range(1003)]


def test_what_is_wrong_with_one_object_is_its_reason(bucket: Bucket, proxy: Proxy) -> None:
    bucket.put("large", bytes(11))
    bucket.put("frozen", b"1", StorageClass="GLACIER")
    bucket.put("secret", b"1")
    proxy.faults = [Fault("secret", status=403, code="AccessDenied")]
    source = S3Source(bucket.uri, proxy.s3)
    for name, says in (
        ("gone", "unreadable: NoSuchKey: "),
        ("secret", "unreadable: AccessDenied: said by the test"),
        ("frozen", "unreadable: InvalidObjectState: "),
        ("large", "too many bytes: 11, the limit is 10"),
    ):
        with pytest.raises(ImageError, match=f"^{says}"):
            source.read(name, 10)


def test_the_body_of_a_large_object_is_not_downloaded(bucket: Bucket, proxy: Proxy) -> None:
    bucket.put("large", bytes(5 * 2**20))
    proxy.faults = [Fault("large", times=1)]  # the body would break off below the limit, and be asked for again
    with pytest.raises(ImageError, match="too many bytes: 5242880, the limit is 4194304"):
        S3Source(bucket.uri, proxy.s3).read("large", 4 * 2**20)
    assert len(proxy.requests) == 1


def test_the_limit_holds_where_the_store_names_no_size(bucket: Bucket, proxy: Proxy) -> None:
    bucket.put("x", bytes(10))
    proxy.sizeless = True
    source = S3Source(bucket.uri, proxy.s3)
    assert source.read("x", 10) == bytes(10)
    with pytest.raises(ImageError, match="too many bytes: 10, the limit is 9"):
        source.read("x", 9)


def test_an_object_at_the_limit_is_read(bucket: Bucket) -> None:
    bucket.put("x", bytes(10))
    bucket.put("empty", b"")
    source = S3Source(bucket.uri, bucket.s3)
    assert source.read("x", 10) == bytes(10)
    assert source.read("empty", 10) == b""


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "ExpiredToken"),
        (403, "RequestTimeTooSkewed"),
        (404, "NoSuchBucket"),
    ],
)
def test_what_speaks_against_the_whole_store_is_no_reason_of_one_object(
    bucket: Bucket, proxy: Proxy, status: int, code: str
) -> None:
    bucket.put("x", b"1")
    proxy.faults = [Fault("x", status=status, code=code)]
    with pytest.raises(ClientError, match=code):
        S3Source(bucket.uri, proxy.s3).read("x", 10)


def test_a_store_that_is_busy_is_asked_again(bucket: Bucket, proxy: Proxy) -> None:
    bucket.put("x", b"1")
    proxy.faults = [Fault("x", times=2, status=503, code="SlowDown")]
    assert S3Source(bucket.uri, proxy.s3).read("x", 10) == b"1"
    assert len(proxy.requests) == 3


def test_a_store_that_stays_down_ends_the_job(bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    bucket.put("x", b"1")
    proxy.faults = [Fault("x", status=503, code="SlowDown")]
    with pytest.raises(ClientError, match="SlowDown"):
        S3Source(bucket.uri, proxy.s3).read("x", 10)


def test_a_body_that_breaks_off_is_read_again(bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_objects, "BACKOFF_S", (0.0, 0.0))
    data = bytes(range(256)) * 20_000
    bucket.put("x", data)
    source = S3Source(bucket.uri, proxy.s3)
    proxy.faults = [Fault("x", times=2)]
    assert source.read("x", len(data)) == data
    proxy.faults = [Fault("x", times=3)]
    with pytest.raises((HTTPClientError, IncompleteReadError)):
        source.read("x", len(data))
    assert len(proxy.requests) == 6


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "let the user of AWS_ACCESS_KEY_ID list"),
        (403, "InvalidAccessKeyId", "set AWS_ACCESS_KEY_ID"),
        (400, "AuthorizationHeaderMalformed", "set MM_S3__REGION"),
        (403, "SecondLevelDomainForbidden", "set MM_S3__ADDRESSING=virtual"),
        (400, "Unheard", "check MM_SOURCE, MM_S3__ENDPOINT, MM_S3__REGION"),
    ],
)
def test_a_bucket_that_is_not_listed_to_us_is_refused(
    bucket: Bucket, proxy: Proxy, status: int, code: str, advice: str
) -> None:
    proxy.faults = [Fault("", status=status, code=code)]
    with pytest.raises(RefusalError) as refused:
        S3Source(f"{bucket.uri}/a", proxy.s3).list(print)
    sentence = str(refused.value)
    for part in (f"{bucket.uri}/a", str(proxy.s3.endpoint), code, advice):
        assert part in sentence
    assert "no-secret" not in sentence


def test_a_bucket_that_is_missing_is_refused(bucket: Bucket) -> None:
    with pytest.raises(RefusalError, match=r"s3://nowhere-at-all .*NoSuchBucket.* correct MM_SOURCE"):
        S3Source("s3://nowhere-at-all", bucket.s3).list(print)


def test_an_endpoint_that_is_down_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    down = bucket.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(RefusalError, match=rf"{bucket.uri} .*{down.endpoint} .*check MM_S3__ENDPOINT"):
        S3Source(bucket.uri, down).list(print)


def test_an_endpoint_that_is_none_is_refused(bucket: Bucket) -> None:
    odd = bucket.s3.model_copy(update={"endpoint": "http://no_such_name:9000"})
    with pytest.raises(RefusalError, match=r"MM_S3__ENDPOINT.*no_such_name"):
        S3Source(bucket.uri, odd).list(print)
