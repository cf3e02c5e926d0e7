"""The files of models: `<lake>/models/<digest>/`, in a folder or a bucket; a folder on every machine that computes."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.store.s3 import client, filesystem, is_s3, listed, split
from mm_assets.lineage.errors import RefusalError


def files_digest(folder: Path) -> tuple[str, int]:
    """SHA-256 over the names and contents of a folder's files, as 16 hex digits, and their bytes together."""
    whole, size = hashlib.sha256(), 0
    for path in _files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
        size += path.stat().st_size
    return whole.hexdigest()[:16], size


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def stored_digest(tables: Lake, digest: str) -> str | None:
    """The digest of the files that lie in the lake under a digest, read anew; None where there are none."""
    if not is_s3(tables.root):
        folder = _place(tables, digest)
        return files_digest(folder)[0] if _files(folder) else None
    if not any(listed(tables.s3, *_prefix(tables, digest))):
        return None
    with tempfile.TemporaryDirectory(prefix="mm-assets-model-") as name:
        _fetch(tables, digest, Path(name))
        return files_digest(Path(name))[0]


def is_there(tables: Lake, digest: str, num_bytes: int) -> bool:
    """Whether the lake has all files of a model, by their bytes together: reading 15 GB to be sure would cost more."""
    if not is_s3(tables.root):
        return sum(path.stat().st_size for path in _files(_place(tables, digest))) == num_bytes
    return sum(item["Size"] for item in listed(tables.s3, *_prefix(tables, digest))) == num_bytes


def local_folder(tables: Lake, digest: str) -> Path:
    """The files of a model on this machine: in the lake itself, or a copy that is fetched once and kept.

    Raises:
        RefusalError: the files in the bucket are not those that the digest names.
    """
    if not is_s3(tables.root):
        return _place(tables, digest)
    place = cache("models") / digest
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(place), tempfile.TemporaryDirectory(prefix=f".{digest}-", dir=place.parent) as staged:
            if not place.is_dir():
                _download(tables, digest, Path(staged))
                move(Path(staged), place)
    return place


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process of this machine at a time: all workers of a node want the same model when they start."""
    with place.with_name(f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, also by a kill
        yield


def read_text(tables: Lake, digest: str, name: str) -> str | None:
    """A small file of a model, without the others; None where it has none of that name."""
    if not is_s3(tables.root):
        path = _place(tables, digest) / name
        return path.read_text("utf-8", "replace") if path.is_file() else None
    bucket, prefix = _prefix(tables, digest)
    if not any(item["Key"] == prefix + name for item in listed(tables.s3, bucket, prefix + name)):
        return None
    body: bytes = client(tables.s3).get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
    return body.decode("utf-8", "replace")


@contextmanager
def staging(tables: Lake) -> Iterator[Path]:
    """A folder to build a model in; what is left of it afterwards is removed."""
    if is_s3(tables.root):
        with tempfile.TemporaryDirectory(prefix="mm-assets-model-") as name:
            yield Path(name)
        return
    with _scratch(tables, _named("building")) as folder:  # in the lake: on the disk where it shall stay
        yield folder


def keep(tables: Lake, folder: Path) -> tuple[str, int]:
    """Put a staged folder into the place of its digest (the files come before the row that names them).

    Returns:
        The digest, and the bytes of all files.
    """
    digest, num_bytes = files_digest(folder)
    if is_s3(tables.root):
        bucket, prefix = _prefix(tables, digest)
        for path in _files(folder):
            client(tables.s3).upload_file(str(path), bucket, prefix + path.relative_to(folder).as_posix())
    else:
        if not is_there(tables, digest, num_bytes):
            shutil.rmtree(_place(tables, digest), ignore_errors=True)  # what is left of a model that lost files
        move(folder, _place(tables, digest))
    return digest, num_bytes


@contextmanager
def training_storage(tables: Lake) -> Iterator[tuple[str, pyarrow.fs.FileSystem | None]]:
    """Where a training keeps its checkpoints while it runs, seen by every node that sees the lake; removed afterwards.

    Yields:
        Path and file system, as Ray Train takes them (None: the path is a local one).
    """
    name = _named("training")
    if is_s3(tables.root):
        store = filesystem(tables.s3)
        path = "/".join(_prefix(tables, name)).rstrip("/")
        try:
            yield path, store
        finally:
            store.delete_dir_contents(path, missing_dir_ok=True)
        return
    with _scratch(tables, name) as folder:
        yield str(folder), None


def _named(what: str) -> str:
    return f".{what}-{uuid.uuid4().hex[:8]}"


@contextmanager
def _scratch(tables: Lake, name: str) -> Iterator[Path]:
    """A folder beside the models, removed afterwards."""
    folder = _place(tables, name)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(tables: Lake, name: str) -> Path:
    return Path(tables.root, "models", name)


def _prefix(tables: Lake, name: str) -> tuple[str, str]:
    """Bucket, and the prefix (with a slash at its end) of one model's objects."""
    bucket, root = split(tables.root)
    return bucket, f"{root}/models/{name}/".lstrip("/")


def cache(what: str) -> Path:
    """The folder of this machine in which copies of such files are kept, by their digest."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mm_assets", what)


def _download(tables: Lake, digest: str, folder: Path) -> None:
    _fetch(tables, digest, folder)
    if files_digest(folder)[0] != digest:
        raise RefusalError(
            f"the files under {tables.root}/models/{digest} are not those of model {digest}: materialize it again"
        )


def _fetch(tables: Lake, digest: str, folder: Path) -> None:
    bucket, prefix = _prefix(tables, digest)
    store = client(tables.s3)
    for item in listed(tables.s3, bucket, prefix):
        path = folder / item["Key"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(bucket, item["Key"], str(path))


def move(folder: Path, place: Path) -> None:
    """Rename a folder to its place, unless somebody put the same files there before."""
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise
