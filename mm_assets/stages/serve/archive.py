"""Packs and unpacks a bundle: the same content gives the same bytes, and no file is ever whole in memory."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mm_assets.pace import BytesPace

CHUNK_BYTES = 2**20
READABLE = 0o644

Content = Path | bytes


@dataclass(frozen=True)
class Packed:
    """A packed file: its SHA-256 in hex, its size in bytes, and the size of each file in it."""

    sha256: str
    num_bytes: int
    files: dict[str, int]


def pack(target: Path, contents: Mapping[str, Content], log: Callable[[str], None], level: int = 0) -> Packed:
    """Write a tar.gz with all files at its root, as SageMaker expects a model.

    Names are sorted, and owners, times and modes are the same for all. So equal contents give equal bytes, at one level
    and one version of zlib.

    Args:
        target: the file to write.
        contents: a path, or the bytes themselves, by the name in the archive.
        log: gets the progress.
        level: level of gzip, 0 to 9; 0 does not compress, because weights hardly do (docs/decisions/0023-serving.md).
    """
    sizes = {name: _size(contents[name]) for name in sorted(contents)}
    progress = BytesPace("packed", sum(sizes.values()), log)
    with target.open("wb") as file:
        hashing = _Hashing(file)
        # No name and no time in gzip's header.
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=hashing, mtime=0) as compressed,
            tarfile.TarFile(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT, copybufsize=CHUNK_BYTES) as tar,
        ):
            for name, size in sizes.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = size, READABLE
                with _opened(contents[name]) as content:
                    tar.addfile(info, _Counted(content, progress))
    return Packed(hashing.digest(), target.stat().st_size, sizes)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder.

    Raises:
        tarfile.TarError, OSError, EOFError, zlib.error: it is no tar.gz, it is cut off, or its bytes changed.
    """
    with gzip.open(archive) as compressed:
        with tarfile.open(fileobj=compressed, mode="r|") as tar:
            tar.extractall(folder, filter="data")  # nothing out of the folder
        while compressed.read(CHUNK_BYTES):  # to its end, because gzip's checksum is there
            pass


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _opened(content: Content) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._whole = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self._whole.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def digest(self) -> str:
        """SHA-256 of all bytes so far, in hex."""
        return self._whole.hexdigest()


@dataclass(frozen=True)
class _Counted:
    """A file that counts its bytes as they are read."""

    file: IO[bytes]
    progress: BytesPace

    def read(self, size: int = -1, /) -> bytes:
        """Read and count some bytes."""
        data = self.file.read(size)
        self.progress.add(len(data))
        return data
