"""The objects below a prefix of a bucket as a place of files."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pyarrow.fs
from botocore.exceptions import ClientError

from mm_assets.engines.store.errors import MISSING, code_of
from mm_assets.engines.store.place import File
from mm_assets.engines.store.probe import require_atomic_puts
from mm_assets.engines.store.s3 import client, filesystem, listed, split, storage_options
from mm_assets.engines.store.upload import Checksum, Upload, upload
from mm_assets.settings import S3Settings

# The setting that names the lake's place; error messages begin with it.
SETTING = "lake (MM_LAKE)"
# Requests at once.
REQUESTS = 16


@dataclass(frozen=True)
class Bucket:
    """`s3://bucket`, or what is below `s3://bucket/prefix`. See `Place` for what each method promises."""

    uri: str
    s3: S3Settings

    def short_name(self) -> str:
        """See `Place`."""
        return self.uri

    def below(self, path: str) -> "Bucket":
        """See `Place`."""
        return Bucket(f"{self.uri}/{path}", self.s3)

    def create(self) -> None:
        """See `Place`."""

    def is_missing(self) -> bool:
        """See `Place`."""
        return False

    def files(self) -> Iterator[tuple[str, File]]:
        """See `Place`; in the order of the store."""
        prefix = self._key("")
        for item in listed(self.s3, self._bucket, prefix):
            yield item["Key"].removeprefix(prefix), File(item["Size"], item["LastModified"].timestamp())

    def folders(self) -> Iterator[tuple[str, float]]:
        """See `Place`."""
        return iter(())

    def size(self, path: str) -> int | None:
        """See `Place`."""
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=self._key(path))
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        return int(head["ContentLength"])

    def open(self, path: str) -> BufferedIOBase:
        """See `Place`."""
        with self._naming(path):
            body: BufferedIOBase = self._client.get_object(Bucket=self._bucket, Key=self._key(path))["Body"]
        return body

    def fetch(self, path: str, file: Path) -> None:
        """See `Place`."""
        with self._naming(path):
            self._client.download_file(self._bucket, self._key(path), str(file))

    def local(self, path: str, copy: Callable[[], Path]) -> Path:
        """See `Place`."""
        return copy()

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """See `Place`."""
        with tempfile.TemporaryDirectory(prefix=f"mm-assets-{name.lstrip('.')}-") as folder:
            yield Path(folder)

    def put(self, file: Path, path: str, sha256: str, checksum: Checksum, log: Callable[[str], None]) -> None:
        """See `Place`."""
        request = Upload(f"{self.uri}/{path}", file.stat().st_size, sha256, SETTING, checksum)
        upload(self.s3, request, file, log)

    def put_folder(self, folder: Path, path: str) -> None:
        """See `Place`; objects come one by one. None is removed, because another process may put the same ones."""
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            self._client.upload_file(
                str(file), self._bucket, self._key(f"{path}/{file.relative_to(folder).as_posix()}")
            )

    @contextmanager
    def shared(self, name: str) -> Iterator[tuple[str, pyarrow.fs.FileSystem]]:
        """See `Place`."""
        store, path = filesystem(self.s3), f"{self._bucket}/{self._key(name)}"
        try:
            yield path, store
        finally:
            store.delete_dir_contents(path, missing_dir_ok=True)

    def remove(self, paths: Iterable[str]) -> None:
        """See `Place`."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(self._remove, paths))

    def _remove(self, path: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=self._key(path))

    def remove_folder(self, name: str) -> None:
        """See `Place`."""
        folder = self.below(name)
        folder.remove([path for path, _ in folder.files()])

    def remove_empty_folders(self, older_than: float) -> None:
        """See `Place`; a bucket has none."""

    def abort_uploads(self, older_than: float) -> int | None:
        """See `Place`."""
        count = 0
        try:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._key("")
            )
            for item in (item for page in pages for item in page.get("Uploads", ())):
                if item["Initiated"].timestamp() < older_than:
                    self._client.abort_multipart_upload(Bucket=self._bucket, Key=item["Key"], UploadId=item["UploadId"])
                    count += 1
        except ClientError:  # some stores do not have this request, or forbid it
            return None
        return count

    def storage_options(self) -> dict[str, str]:
        """See `Place`."""
        return storage_options(self.s3, self._bucket)

    def require_atomic_puts(self) -> None:
        """See `Place`."""
        require_atomic_puts(self.uri, self.s3)

    @property
    def _client(self) -> Any:  # noqa: ANN401  (boto3 makes its classes at run time)
        return client(self.s3)

    @property
    def _bucket(self) -> str:
        return split(self.uri)[0]

    def _key(self, path: str) -> str:
        """The key of a path, or the prefix of the place; its slash keeps `a/b` from matching `a/bc`."""
        prefix = split(self.uri)[1]
        return f"{prefix}/{path}" if prefix else path

    @contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        """Turn the store's answer that an object is missing into a FileNotFoundError, as a folder raises it."""
        try:
            yield
        except ClientError as error:
            if code_of(error) not in MISSING:
                raise
            raise FileNotFoundError(f"{self.uri}/{path}") from error
