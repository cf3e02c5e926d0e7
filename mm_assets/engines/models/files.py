"""Files that a lake keeps beside its tables: `models/<digest>/` and `bundles/<name>/model.tar.gz`.

Files are written before the row that names them. A folder of unfinished files has a name that begins as `UNFINISHED`
says: by it, maintenance finds the leftovers of killed runs. A machine that computes needs the model as a folder. Where
the lake is a bucket, the machine keeps a copy.
"""

import fcntl
import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pyarrow.fs

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.store.folder import move_folder
from mm_assets.engines.store.place import Place
from mm_assets.engines.store.upload import Checksum
from mm_assets.lineage.errors import RefusalError

MODELS, BUNDLES = "models", "bundles"
ARCHIVE = "model.tar.gz"  # SageMaker's name for it
BUILDING, TRAINING, PACKING = ".building-", ".training-", ".packing-"
# How the names of unfinished folders begin, by the folder that they are in.
UNFINISHED = {MODELS: (BUILDING, TRAINING), BUNDLES: (PACKING,)}


def files_digest(folder: Path) -> tuple[str, int]:
    """SHA-256 over the names and contents of a folder's files, as 16 hex digits, and the sum of their bytes."""
    whole, size = hashlib.sha256(), 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(folder).as_posix()}\0{_sha256(path)}\n".encode())
        size += path.stat().st_size
    return whole.hexdigest()[:16], size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(beginning: str) -> str:
    return f"{beginning}{uuid.uuid4().hex[:8]}"


# --- models: folders under the digest of their files


def model_staging(tables: Lake) -> AbstractContextManager[Path]:
    """A folder to build a model in; files that are not moved out of it are removed afterwards."""
    return tables.place.below(MODELS).building(_name(BUILDING))


def keep_model(tables: Lake, folder: Path) -> tuple[str, int]:
    """Move a staged folder to the path of its digest.

    Returns:
        The digest, and the sum of the files' bytes.
    """
    digest, num_bytes = files_digest(folder)
    tables.place.below(MODELS).put_folder(folder, digest)
    return digest, num_bytes


def training_storage(tables: Lake) -> AbstractContextManager[tuple[str, pyarrow.fs.FileSystem | None]]:
    """A folder for a training's checkpoints, visible wherever the lake is visible; removed afterwards.

    Yields:
        Path and file system, as Ray Train takes them (None: the path is a local one).
    """
    return tables.place.below(MODELS).shared(_name(TRAINING))


def has_model(tables: Lake, digest: str, num_bytes: int) -> bool:
    """Whether the lake has all files of a model, by the sum of their bytes: a digest would read 15 GB."""
    return sum(file.num_bytes for _, file in _model(tables, digest).files()) == num_bytes


def stored_digest(tables: Lake, digest: str) -> str | None:
    """Read the files under a digest again, and give their true digest; None where there are none."""
    if not any(_model(tables, digest).files()):
        return None
    with tempfile.TemporaryDirectory(prefix="mm-assets-model-") as name:
        return files_digest(_model(tables, digest).local("", lambda: _fetched(tables, digest, Path(name))))[0]


def read_text(tables: Lake, digest: str, name: str) -> str | None:
    """Read one small file of a model; None where the model has no file of that name."""
    try:
        with _model(tables, digest).open(name) as file:
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def local_folder(tables: Lake, digest: str) -> Path:
    """A model's folder on this machine: the one in the lake, or a copy that is fetched once and kept.

    Raises:
        RefusalError: the files in the bucket have another digest.
    """
    return _model(tables, digest).local("", lambda: _cached(tables, digest))


def cache(what: str) -> Path:
    """The folder of this machine for copies of such files, by their digest."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mm_assets", what)


def _cached(tables: Lake, digest: str) -> Path:
    copy = cache(MODELS) / digest
    if not copy.is_dir():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _one_process(copy), tempfile.TemporaryDirectory(prefix=f".{digest}-", dir=copy.parent) as staged:
            if not copy.is_dir():
                _fetch_checked(tables, digest, Path(staged))
                move_folder(Path(staged), copy)
    return copy


@contextmanager
def _one_process(copy: Path) -> Iterator[None]:
    """Let in one process of this machine at a time: the workers of a node want the same model when they start."""
    with copy.with_name(f".{copy.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, also by a kill
        yield


def _fetch_checked(tables: Lake, digest: str, folder: Path) -> None:
    if files_digest(_fetched(tables, digest, folder))[0] != digest:
        raise RefusalError(
            f"the files under {tables.root}/models/{digest} are not those of model {digest}: materialize it again"
        )


def _fetched(tables: Lake, digest: str, folder: Path) -> Path:
    model = _model(tables, digest)
    for name, _ in model.files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        model.fetch(name, folder / name)
    return folder


def _model(tables: Lake, digest: str) -> Place:
    return tables.place.below(f"{MODELS}/{digest}")


# --- bundles: one large file each, its SHA-256 in its row


def bundle_uri(name: str) -> str:
    """The path of a bundle's file, relative to the lake."""
    return f"{BUNDLES}/{name}/{ARCHIVE}"


def bundle_staging(tables: Lake) -> AbstractContextManager[Path]:
    """A folder to pack a bundle in, removed afterwards."""
    return tables.place.below(BUNDLES).building(_name(PACKING))


def keep_bundle(
    tables: Lake, archive: Path, uri: str, sha256: str, checksum: Checksum, log: Callable[[str], None]
) -> None:
    """Put a packed file into the lake.

    Raises:
        RefusalError: see `upload`.
    """
    tables.place.put(archive, uri, sha256, checksum, log)


def bundle_size(tables: Lake, uri: str) -> int | None:
    """Bytes of a bundle's file; None where it is missing."""
    return tables.place.size(uri)


def bundle_sha256(tables: Lake, uri: str) -> str:
    """SHA-256 of a bundle's file in hex, read anew."""
    with tables.place.open(uri) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def local_bundle(tables: Lake, uri: str, sha256: str) -> Iterator[Path]:
    """A bundle's file on this machine: the one in the lake, or a copy that is removed afterwards.

    Raises:
        RefusalError: the file in the bucket has another digest.
    """

    def copy() -> Path:
        file = Path(name, ARCHIVE)
        tables.place.fetch(uri, file)
        if _sha256(file) != sha256:
            raise RefusalError(f"{tables.root}/{uri} is not the bundle that was packed: delete it and run this again")
        return file

    with tempfile.TemporaryDirectory(prefix="mm-assets-bundle-") as name:
        yield tables.place.local(uri, copy)
