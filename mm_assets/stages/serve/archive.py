"""A bundle as one file: the same content gives the same bytes, and no file is ever whole in memory."""

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
    """A packed file: SHA-256 in hex, its bytes, and those of each file in it."""

    sha256: str
    num_bytes: int
    files: dict[str, int]


def pack(target: Path, contents: Mapping[str, Content], log: Callable[[str], None], level: int = 0) -> Packed:
    """Write a tar.gz of files at the archive's root, as SageMaker takes a model.

    Names are sorted; owners, times and modes are the same for all, so that equal contents give equal bytes (of one
    level, and of one version of zlib).

    Args:
        target: the file to write.
        contents: a path, or the bytes themselves, by the name in the archive.
        log: where progress goes.
        level: of gzip, 0 (as it is, for weights hardly compress: docs/decisions/0023-serving.md) to 9.
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
        tarfile.TarError, OSError, EOFError, zlib.error: it is no such archive, it is cut off, or bytes of it changed.
    """
    with gzip.open(archive) as compressed:
        with tarfile.open(fileobj=compressed, mode="r|") as tar:
            tar.extractall(folder, filter="data")  # nothing out of the folder
        while compressed.read(CHUNK_BYTES):  # to its end, where gzip's checksum is
            pass


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _opened(content: Content) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


class _Hashing:
    """Hands bytes on to a file, and hashes them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._whole = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self._whole.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand on what the file holds back."""
        self._file.flush()

    def digest(self) -> str:
        """Of all bytes so far, in hex."""
        return self._whole.hexdigest()


@dataclass(frozen=True)
class _Counted:
    """A file whose bytes are counted as they are read."""

    file: IO[bytes]
    progress: BytesPace

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes."""
        data = self.file.read(size)
        self.progress.add(len(data))
        return data
