"""Uploads in parts: checked by the store, and on from where a killed one ended."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_assets.engines.store import upload as s3_upload
from mm_assets.engines.store.s3 import client
from mm_assets.engines.store.upload import Upload, is_uploaded, parts_of, upload
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import S3Settings
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy

pytestmark = pytest.mark.s3

MiB = 2**20
PART = 5 * MiB  # the least that S3 takes
KEY = "bundles/a b/model.tar.gz"


def quiet(_: str) -> None:
    """Nobody listens."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of four parts, the last one small."""
    path = tmp_path / "model.tar.gz"
    path.write_bytes(np.random.default_rng(5).bytes(3 * PART + 7))
    return path


def asked_for(bucket: Bucket, file: Path, **changed: Any) -> Upload:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    given = {"uri": f"{bucket.uri}/{KEY}", "num_bytes": file.stat().st_size, "sha256": digest, "part_bytes": PART}
    return Upload(**{**given, "setting": "serve.upload_to", **changed})


def parts_sent(proxy: Proxy) -> list[int]:
    found = (re.search(r"^PUT .*partNumber=(\d+)", line) for line in proxy.requests)
    return [int(match[1]) for match in found if match]


def stored(bucket: Bucket) -> bytes:
    return bytes(client(bucket.s3).get_object(Bucket=bucket.name, Key=KEY)["Body"].read())


def unfinished(bucket: Bucket) -> list[dict[str, Any]]:
    return list(client(bucket.s3).list_multipart_uploads(Bucket=bucket.name).get("Uploads", ()))


def cut_off(proxy: Proxy, asked: Upload, file: Path, after: int) -> None:
    """An upload of which only the first so many requests with a part are let through."""
    proxy.faults.append(Fault("model.tar.gz", status=403, code="AccessDenied", method="PUT", after=after))
    with pytest.raises(RefusalError, match="AccessDenied"):
        upload(proxy.s3, asked, file, quiet)
    proxy.faults.clear()


def test_what_is_uploaded_is_the_file_with_the_checksums_of_its_parts(bucket: Bucket, file: Path) -> None:
    lines: list[str] = []
    asked = asked_for(bucket, file)
    assert not is_uploaded(bucket.s3, asked)
    upload(bucket.s3, asked, file, lines.append)
    assert stored(bucket) == file.read_bytes()
    assert is_uploaded(bucket.s3, asked)
    assert unfinished(bucket) == []
    head = client(bucket.s3).head_object(Bucket=bucket.name, Key=KEY, ChecksumMode="ENABLED")
    assert head["Metadata"] == {"sha256": asked.sha256}
    data = file.read_bytes()
    digests = [hashlib.sha256(data[start : start + PART]).digest() for start in range(0, len(data), PART)]
    assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()
    assert lines[-1].startswith("16 of 16 MB uploaded")


def headers_of_parts(bucket: Bucket, run: Callable[[S3Settings], None]) -> list[dict[str, str]]:
    """The headers of all requests that carry a part."""
    found: list[dict[str, str]] = []
    store = client(bucket.s3)

    def look(request: Any, **_: Any) -> None:
        found.append({name.lower(): str(value) for name, value in request.headers.items()})

    store.meta.events.register("request-created.s3.UploadPart", look)
    try:
        run(bucket.s3)
    finally:
        store.meta.events.unregister("request-created.s3.UploadPart", look)
    return found


@pytest.mark.parametrize(("checksum", "header"), [("sha256", "x-amz-checksum-sha256"), ("md5", "content-md5")])
def test_every_part_goes_with_its_digest(bucket: Bucket, file: Path, checksum: str, header: str) -> None:
    asked = asked_for(bucket, file, checksum=checksum)
    sent = headers_of_parts(bucket, lambda s3: upload(s3, asked, file, quiet))
    parts, _ = parts_of(file, PART)
    wanted = {base64.b64encode(part.sha256 if checksum == "sha256" else part.md5).decode() for part in parts}
    assert {headers[header].strip("b'") for headers in sent} == wanted
    assert all(("x-amz-checksum-sha256" in headers) == (checksum == "sha256") for headers in sent)
    assert all("content-md5" in headers for headers in sent)
    assert stored(bucket) == file.read_bytes()


def test_a_finished_upload_is_not_sent_again(bucket: Bucket, proxy: Proxy, file: Path) -> None:
    asked = asked_for(bucket, file)
    upload(proxy.s3, asked, file, quiet)
    assert parts_sent(proxy) != []
    proxy.requests.clear()
    upload(proxy.s3, asked, file, quiet)
    assert [line.split()[0] for line in proxy.requests] == ["HEAD"]


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_an_upload_that_was_cut_off_goes_on_with_the_parts_that_are_missing(
    bucket: Bucket, proxy: Proxy, file: Path, checksum: str
) -> None:
    asked = asked_for(bucket, file, checksum=checksum)
    cut_off(proxy, asked, file, after=2)
    (left,) = unfinished(bucket)
    there = client(bucket.s3).list_parts(Bucket=bucket.name, Key=KEY, UploadId=left["UploadId"])["Parts"]
    kept = {part["PartNumber"] for part in there}
    assert len(kept) == 2
    proxy.requests.clear()
    lines: list[str] = []
    upload(proxy.s3, asked, file, lines.append)
    assert set(parts_sent(proxy)) == {1, 2, 3, 4} - kept
    assert len(parts_sent(proxy)) == 2
    assert "2 of 4 parts are there already" in lines[0]
    assert stored(bucket) == file.read_bytes()
    assert unfinished(bucket) == []


def test_parts_of_another_content_are_not_gone_on_with(bucket: Bucket, proxy: Proxy, file: Path) -> None:
    cut_off(proxy, asked_for(bucket, file), file, after=2)
    file.write_bytes(file.read_bytes()[::-1])
    proxy.requests.clear()
    upload(proxy.s3, asked_for(bucket, file), file, quiet)
    assert sorted(parts_sent(proxy)) == [1, 2, 3, 4]
    assert stored(bucket) == file.read_bytes()


@pytest.mark.parametrize("size", [1000, PART])
def test_a_part_that_was_cut_off_is_sent_again(bucket: Bucket, proxy: Proxy, file: Path, size: int) -> None:
    """What moto keeps of a request whose sender was killed."""
    cut_off(proxy, asked_for(bucket, file), file, after=2)
    (left,) = unfinished(bucket)
    place = {"Bucket": bucket.name, "Key": KEY, "UploadId": left["UploadId"]}
    kept = {part["PartNumber"] for part in client(bucket.s3).list_parts(**place)["Parts"]}
    broken = min(kept)
    client(bucket.s3).upload_part(**place, PartNumber=broken, Body=b"x" * size)
    proxy.requests.clear()
    upload(proxy.s3, asked_for(bucket, file), file, quiet)
    assert sorted(parts_sent(proxy)) == sorted({1, 2, 3, 4} - kept | {broken})
    assert stored(bucket) == file.read_bytes()


def test_an_upload_that_cannot_be_looked_for_is_begun_anew(bucket: Bucket, proxy: Proxy, file: Path) -> None:
    asked = asked_for(bucket, file)
    cut_off(proxy, asked, file, after=2)
    # A listing of uploads asks for the bucket itself.
    proxy.faults.append(Fault(bucket.name, status=403, code="AccessDenied", method="GET"))
    lines: list[str] = []
    upload(proxy.s3, asked, file, lines.append)
    assert "unfinished uploads cannot be listed (AccessDenied)" in lines[0]
    assert stored(bucket) == file.read_bytes()


def test_another_object_of_that_name_is_replaced(bucket: Bucket, file: Path) -> None:
    bucket.put(KEY, file.read_bytes())  # of the same size, but nobody knows its digest
    asked = asked_for(bucket, file)
    assert not is_uploaded(bucket.s3, asked)
    upload(bucket.s3, asked, file, quiet)
    assert is_uploaded(bucket.s3, asked)
    file.write_bytes(b"small")
    upload(bucket.s3, asked_for(bucket, file), file, quiet)
    assert stored(bucket) == b"small"


def test_two_processes_may_go_on_with_one_upload(
    bucket: Bucket, proxy: Proxy, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is done when the first has sent its last part: that upload is no more, and the object is there."""
    asked = asked_for(bucket, file)
    cut_off(proxy, asked, file, after=2)
    complete = s3_upload._Sending._complete

    def after_the_other(sending: s3_upload._Sending, *given: Any) -> None:
        monkeypatch.setattr(s3_upload._Sending, "_complete", complete)
        upload(bucket.s3, asked, file, quiet)
        complete(sending, *given)

    monkeypatch.setattr(s3_upload._Sending, "_complete", after_the_other)
    upload(proxy.s3, asked, file, quiet)
    assert stored(bucket) == file.read_bytes()


def test_the_answer_to_the_last_request_that_is_lost_is_no_failure(bucket: Bucket, proxy: Proxy, file: Path) -> None:
    """The store has completed it, the client asks again, and that upload is no more."""
    asked = asked_for(bucket, file)
    proxy.faults.append(Fault("model.tar.gz", times=1, method="POST", after=1))  # the first one begins the upload
    upload(proxy.s3, asked, file, quiet)
    assert len([line for line in proxy.requests if line.startswith("POST") and "uploadId" in line]) == 2
    assert stored(bucket) == file.read_bytes()


def test_a_store_that_knows_no_sha256_checksums_is_refused_with_the_setting(
    bucket: Bucket, proxy: Proxy, file: Path
) -> None:
    proxy.faults.append(Fault("model.tar.gz", status=501, code="NotImplemented", method="POST"))
    with pytest.raises(RefusalError, match=r"serve.upload_checksum \(MM_SERVE__UPLOAD_CHECKSUM\) to md5"):
        upload(proxy.s3, asked_for(bucket, file), file, quiet)


def test_a_bucket_that_is_not_there_is_refused_by_the_setting(bucket: Bucket, file: Path) -> None:
    asked = asked_for(bucket, file, uri="s3://nobody-made-this/model.tar.gz")
    with pytest.raises(RefusalError, match=r"^serve.upload_to: s3://nobody-made-this/model.tar.gz cannot be written"):
        upload(bucket.s3, asked, file, quiet)


def test_what_a_store_holds_in_the_end_is_compared(bucket: Bucket, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file changed between the digests and the sending: moto compares no checksums with what it gets."""
    asked, whole = asked_for(bucket, file), parts_of

    def then_changed(path: Path, part_bytes: int) -> Any:
        found = whole(path, part_bytes)
        path.write_bytes(path.read_bytes()[::-1])
        return found

    monkeypatch.setattr(s3_upload, "parts_of", then_changed)
    with pytest.raises(RefusalError, match="is not what was sent: delete it"):
        upload(bucket.s3, asked, file, quiet)


def test_parts_grow_where_there_would_be_too_many(bucket: Bucket, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_upload, "MOST_PARTS", 2)
    asked = replace(asked_for(bucket, file), part_bytes=PART)
    assert len(headers_of_parts(bucket, lambda s3: upload(s3, asked, file, quiet))) == 2
    assert stored(bucket) == file.read_bytes()


def test_an_unfinished_upload_that_was_begun_in_another_way_is_left(bucket: Bucket, file: Path, proxy: Proxy) -> None:
    """S3 refuses parts with SHA-256 in an upload that was begun without, and the other way round."""
    asked = asked_for(bucket, file)
    cut_off(proxy, asked, file, after=2)
    proxy.faults.append(Fault("model.tar.gz", status=400, code="InvalidRequest", method="PUT", times=1))
    lines: list[str] = []
    upload(proxy.s3, asked, file, lines.append)
    assert stored(bucket) == file.read_bytes()
    assert any("an unfinished upload is another's" in line for line in lines)
    (other, *_) = unfinished(bucket)
    assert other["Key"] == KEY


def test_a_file_that_was_changed_is_not_sent(bucket: Bucket, file: Path) -> None:
    asked = asked_for(bucket, file)
    with file.open("r+b") as changed:
        changed.seek(PART)
        changed.write(b"other")
    with pytest.raises(RefusalError, match="was changed since it was packed"):
        upload(bucket.s3, asked, file, quiet)
    assert not is_uploaded(bucket.s3, asked)
    assert unfinished(bucket) == []


def test_what_a_store_answers_to_a_question_says_nothing_of_checksums(bucket: Bucket, file: Path, proxy: Proxy) -> None:
    """An expired token: a HEAD has no body, so its code is only 400."""
    proxy.faults.append(Fault("model.tar.gz", status=400, code="InvalidRequest", method="HEAD", times=99))
    with pytest.raises(RefusalError, match="check the bucket"):
        upload(proxy.s3, asked_for(bucket, file), file, quiet)
