"""Upload of one large file into a bucket: in parts with checksums, several at once, resumed after a kill.

A worked example of the resume, a file of four parts:

    The first run begins an upload and sends parts 1 and 2. It is killed while it sends part 3.
    The second run digests the file, lists the unfinished uploads of this key, and lists their parts.
    Parts 1 and 2 have our sizes and checksums, and are kept. Part 3 is missing, or cut off, and does not count.
    The run sends parts 3 and 4, completes the upload, and compares the object's checksum with the file.

Two things can go wrong. Another run completed the same upload first: the store answers NoSuchUpload, but the object is
there, and the run verifies it. Or the upload was begun with another checksum: the run begins a new upload.

Amazon S3 User Guide, "Uploading and copying objects using multipart upload" and "Checking object integrity".
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from mm_assets.engines.store.errors import MISSING, code_of, described
from mm_assets.engines.store.s3 import client, split
from mm_assets.lineage.errors import RefusalError
from mm_assets.pace import BytesPace
from mm_assets.settings import S3Settings

MiB = 2**20
# Bytes of a part, which is in memory while it is sent. S3 takes 10,000 parts of at least 5 MiB (but for the last).
PART_BYTES, MOST_PARTS = 64 * MiB, 10_000
PARTS_AT_ONCE = 4
# The object's metadata has the SHA-256 of the whole file, in hex. S3's own checksum is made from the parts' checksums.
WHOLE = "sha256"

Checksum = Literal["sha256", "md5"]

# Answers of a store that knows no SHA-256 checksums of parts.
UNKNOWN_CHECKSUM = {"NotImplemented", "501", "InvalidArgument", "InvalidRequest"}
SENDING = {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
# Answers where an unfinished upload was begun with another checksum, or was completed or aborted meanwhile.
ANOTHERS = {"InvalidRequest", "InvalidArgument", "InvalidPart", "NoSuchUpload", "BadDigest"}


@dataclass(frozen=True)
class Part:
    """A piece of the file: its number (from 1), its beginning and size in bytes, and its digests."""

    number: int
    offset: int
    size: int
    sha256: bytes
    md5: bytes


@dataclass(frozen=True)
class Upload:
    """The order for an upload.

    Args:
        uri: `s3://bucket/key`.
        num_bytes: of the file.
        sha256: of the file, in hex.
        setting: that names the place; error messages begin with it.
        checksum: `sha256` lets the store check each part by SHA-256 and by Content-MD5. `md5` sends Content-MD5 alone,
            which every store knows.
        part_bytes: of a part; larger where the file would have more parts than S3 takes.
    """

    uri: str
    num_bytes: int
    sha256: str
    setting: str
    checksum: Checksum = "sha256"
    part_bytes: int = PART_BYTES


def upload(s3: S3Settings, request: Upload, path: Path, log: Callable[[str], None]) -> None:
    """Upload a file, unless the bucket has the same content; the parts of a killed upload are kept.

    Raises:
        RefusalError: the store refuses it or does not answer, or the stored object differs from the file.
    """
    if is_uploaded(s3, request):
        log(f"{request.uri} is there already")
        return
    with _refusing(s3, request):
        _Sending(s3, request, path, log).run()


def is_uploaded(s3: S3Settings, request: Upload) -> bool:
    """Whether the bucket has an object of this size with this SHA-256 in its metadata.

    Raises:
        RefusalError: the store does not answer.
    """
    with _refusing(s3, request):
        return _is_there(_head(s3, request.uri), request)


def _is_there(head: Mapping[str, Any] | None, request: Upload) -> bool:
    if head is None or head["ContentLength"] != request.num_bytes:
        return False
    return bool(head["Metadata"].get(WHOLE) == request.sha256)


def _head(s3: S3Settings, uri: str) -> Mapping[str, Any] | None:
    bucket, key = split(uri)
    try:
        head: Mapping[str, Any] = client(s3).head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if code_of(error) in MISSING:
            return None
        raise
    return head


class _Sending:
    """One upload: resume or begin, send, complete, verify."""

    def __init__(self, s3: S3Settings, request: Upload, path: Path, log: Callable[[str], None]) -> None:
        self._s3, self._store, self._asked, self._path, self._log = s3, client(s3), request, path, log
        self._bucket, self._key = split(request.uri)
        self._parts, whole = parts_of(path, max(request.part_bytes, -(-request.num_bytes // MOST_PARTS)))
        if whole != request.sha256:
            raise RefusalError(
                f"{request.setting}: {path} was changed since it was packed (its SHA-256 is {whole}): delete it and "
                "run this again"
            )

    def run(self) -> None:
        unfinished = self._unfinished()
        try:
            self._finish(*(unfinished or (self._begin(), {})))
        except ClientError as error:
            # An object that is there is no error: another process completed the same upload, or an answer was lost.
            if not _is_there(_head(self._s3, self._asked.uri), self._asked):
                if unfinished is None or code_of(error) not in ANOTHERS:
                    raise
                self._log(f"{self._asked.uri}: an unfinished upload is another's ({described(error)}): beginning anew")
                self._finish(self._begin(), {})
        self._verify()

    def _finish(self, upload_id: str, sent: dict[int, str]) -> None:
        sent = sent | self._send(upload_id, [part for part in self._parts if part.number not in sent])
        self._complete(upload_id, sent)

    def _begin(self) -> str:
        checked = {"ChecksumAlgorithm": "SHA256"} if self._asked.checksum == "sha256" else {}
        begun = self._store.create_multipart_upload(
            Bucket=self._bucket, Key=self._key, Metadata={WHOLE: self._asked.sha256}, **checked
        )
        return str(begun["UploadId"])

    def _unfinished(self) -> tuple[str, dict[int, str]] | None:
        """The unfinished upload of this key that has the most parts of the file, with their ETags by number."""
        best: tuple[str, dict[int, str]] | None = None
        for upload_id in self._begun():
            sent = self._sent(upload_id)
            if sent and (best is None or len(sent) > len(best[1])):
                best = upload_id, sent
        if best is not None:
            self._log(f"{self._asked.uri}: {len(best[1])} of {len(self._parts)} parts are there already")
        return best

    def _begun(self) -> list[str]:
        try:
            pages = list(
                self._store.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._key)
            )
        except ClientError as error:  # some stores do not have this request, or forbid it
            self._log(f"{self._asked.uri}: unfinished uploads cannot be listed ({code_of(error)}): beginning anew")
            return []
        return [item["UploadId"] for page in pages for item in page.get("Uploads", ()) if item["Key"] == self._key]

    def _sent(self, upload_id: str) -> dict[int, str]:
        """The parts of this file that an unfinished upload has: ETags by number.

        A part whose sender was killed may be listed too, cut off or filled up. It does not count, and is sent again.
        """
        ours = {part.number: part for part in self._parts}
        pages = self._store.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=self._key, UploadId=upload_id)
        listed = [item for page in pages for item in page.get("Parts", ()) if item["PartNumber"] in ours]
        return {item["PartNumber"]: item["ETag"] for item in listed if _is_same(item, ours[item["PartNumber"]])}

    def _send(self, upload_id: str, missing: list[Part]) -> dict[int, str]:
        """Send parts, several at once, and give their ETags by number."""
        progress = BytesPace("uploaded", sum(part.size for part in missing), self._log)
        sent: dict[int, str] = {}
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            futures = {part: pool.submit(self._send_one, upload_id, part) for part in missing}
            try:
                for part, future in futures.items():
                    sent[part.number] = future.result()
                    progress.add(part.size)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)  # the upload will not be completed now
                raise
        return sent

    def _send_one(self, upload_id: str, part: Part) -> str:
        with self._path.open("rb") as file:
            file.seek(part.offset)
            data = file.read(part.size)
        sent = self._store.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=upload_id,
            PartNumber=part.number,
            Body=data,
            ContentMD5=_base64(part.md5),  # also beside a SHA-256, which some stores ignore
            **self._checked(part),
        )
        return str(sent["ETag"])

    def _checked(self, part: Part) -> dict[str, str]:
        return {"ChecksumSHA256": _base64(part.sha256)} if self._asked.checksum == "sha256" else {}

    def _complete(self, upload_id: str, sent: Mapping[int, str]) -> None:
        listed = [{"PartNumber": part.number, "ETag": sent[part.number], **self._checked(part)} for part in self._parts]
        self._store.complete_multipart_upload(
            Bucket=self._bucket, Key=self._key, UploadId=upload_id, MultipartUpload={"Parts": listed}
        )

    def _verify(self) -> None:
        """Compare the stored object with the file: its size, and the digest of the parts' digests."""
        head = _head(self._s3, self._asked.uri)
        stored = "" if head is None else head.get("ChecksumSHA256", "").partition("-")[0]
        expected = _base64(hashlib.sha256(b"".join(part.sha256 for part in self._parts)).digest())
        if not _is_there(head, self._asked) or (stored and stored != expected):
            raise RefusalError(
                f"{self._asked.setting}: what {self._asked.uri} holds after the upload is not what was sent: delete it "
                "and run this again"
            )


def parts_of(path: Path, part_bytes: int) -> tuple[list[Part], str]:
    """The parts of a file (at least one) with their digests, and its SHA-256. The file is read once, part by part."""
    size, parts, whole = path.stat().st_size, list[Part](), hashlib.sha256()
    with path.open("rb") as file:
        while not parts or parts[-1].offset + parts[-1].size < size:
            data = file.read(part_bytes)
            whole.update(data)
            offset = parts[-1].offset + parts[-1].size if parts else 0
            md5 = hashlib.md5(data, usedforsecurity=False).digest()
            parts.append(Part(len(parts) + 1, offset, len(data), hashlib.sha256(data).digest(), md5))
    return parts, whole.hexdigest()


def _is_same(stored_part: Mapping[str, Any], part: Part) -> bool:
    """Whether a stored part equals one of the file: by its SHA-256, or by its ETag (MD5) where the store has none."""
    if stored_part["Size"] != part.size:
        return False
    checksum = stored_part.get("ChecksumSHA256")
    return (
        bool(checksum == _base64(part.sha256)) if checksum else stored_part["ETag"].strip('"').lower() == part.md5.hex()
    )


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@contextmanager
def _refusing(s3: S3Settings, request: Upload) -> Iterator[None]:
    """Turn an error of the store into a sentence that says what to do."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        advice = (
            "check the bucket, MM_S3__ENDPOINT, MM_S3__REGION and the credentials (AWS_ACCESS_KEY_ID); run it again, "
            "and parts that are there are not sent again"
        )
        sending = getattr(error, "operation_name", None) in SENDING
        if request.checksum == "sha256" and sending and code_of(error) in UNKNOWN_CHECKSUM:
            advice = (
                "where the store knows no SHA-256 checksums, set serve.upload_checksum (MM_SERVE__UPLOAD_CHECKSUM) to "
                "md5"
            )
        raise RefusalError(
            f"{request.setting}: {request.uri} cannot be written to {s3.endpoint or 'AWS'} "
            f"({described(error)}): {advice}"
        ) from error
