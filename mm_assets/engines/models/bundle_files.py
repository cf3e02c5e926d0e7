"""The files of bundles: `<lake>/bundles/<name>/model.tar.gz`, in a folder or a bucket."""

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import ClientError

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.s3_objects import code_of
from mm_assets.engines.store.s3 import client, is_s3, split
from mm_assets.engines.store.upload import GONE, Checksum, Upload, upload
from mm_assets.lineage.errors import RefusalError

FOLDER, ARCHIVE = "bundles", "model.tar.gz"  # SageMaker's name for it
# How the names of folders begin in which a bundle is packed.
PACKING = ".packing-"
CHUNK_BYTES = 2**20


def uri_of(name: str) -> str:
    """Where the bundle of a name lies, relative to the lake."""
    return f"{FOLDER}/{name}/{ARCHIVE}"


def size_of(tables: Lake, uri: str) -> int | None:
    """Bytes of a bundle's file; None where it is not there."""
    if not is_s3(tables.root):
        path = Path(tables.root, uri)
        return path.stat().st_size if path.is_file() else None
    try:
        found = client(tables.s3).head_object(**_object(tables, uri))
    except ClientError as error:
        if code_of(error) in GONE:
            return None
        raise
    return int(found["ContentLength"])


def sha256_of(tables: Lake, uri: str) -> str:
    """SHA-256 of a bundle's file in hex, read anew."""
    if not is_s3(tables.root):
        with Path(tables.root, uri).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    body = client(tables.s3).get_object(**_object(tables, uri))["Body"]
    for chunk in body.iter_chunks(CHUNK_BYTES):
        whole.update(chunk)
    return whole.hexdigest()


@contextmanager
def staging(tables: Lake) -> Iterator[Path]:
    """A folder to pack a bundle in, removed afterwards: in the lake, where that is a folder, else a temporary one."""
    if is_s3(tables.root):
        with tempfile.TemporaryDirectory(prefix="mm-assets-bundle-") as name:
            yield Path(name)
        return
    folder = Path(tables.root, FOLDER, f"{PACKING}{uuid.uuid4().hex[:8]}")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(tables: Lake, archive: Path, uri: str, sha256: str, checksum: Checksum, log: Callable[[str], None]) -> None:
    """Put a packed file into its place (the file comes before the row that names it).

    Raises:
        RefusalError: see `upload`.
    """
    if is_s3(tables.root):
        asked = Upload(f"{tables.root}/{uri}", archive.stat().st_size, sha256, "lake (MM_LAKE)", checksum)
        upload(tables.s3, asked, archive, log)
        return
    place = Path(tables.root, uri)
    place.parent.mkdir(parents=True, exist_ok=True)
    archive.replace(place)


@contextmanager
def local_file(tables: Lake, uri: str, sha256: str) -> Iterator[Path]:
    """A bundle's file on this machine: in the lake itself, or a copy that is removed afterwards.

    Raises:
        RefusalError: the file in the bucket is another one.
    """
    if not is_s3(tables.root):
        yield Path(tables.root, uri)
        return
    with tempfile.TemporaryDirectory(prefix="mm-assets-bundle-") as name:
        path = Path(name, ARCHIVE)
        place = _object(tables, uri)
        client(tables.s3).download_file(place["Bucket"], place["Key"], str(path))
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise RefusalError(f"{tables.root}/{uri} is not the bundle that was packed: delete it and run this again")
        yield path


def _object(tables: Lake, uri: str) -> dict[str, str]:
    bucket, root = split(tables.root)
    return {"Bucket": bucket, "Key": f"{root}/{uri}".lstrip("/")}
