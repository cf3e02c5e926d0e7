"""Images in a folder: every file is listed, and its label is the first folder below the root."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote_to_bytes

import pyarrow as pa

from mm_assets.engines.sources.source import Row, Stat, counted, row_of, table_of, too_large
from mm_assets.engines.store.s3 import object_of
from mm_assets.images import ImageError
from mm_assets.settings import S3Settings


@dataclass(frozen=True)
class FolderSource:
    """A folder of images.

    Args:
        root: the folder.
        name: shown instead of the path, where the user did not give a path.
    """

    root: str
    name: str | None = None

    @classmethod
    def from_setting(cls, setting: str, s3: S3Settings) -> Self | None:
        """See `Kind`; takes every path that no other kind takes."""
        return cls(setting) if object_of(setting) is None else None

    @property
    def place(self) -> str:
        """See `Source`."""
        return self.name or self.root

    def list(self, say: Callable[[str], None]) -> pa.Table:
        """See `Source`; hidden files are listed too. The etag is made from size and modification time.

        Raises:
            OSError: a folder cannot be listed.
        """
        return table_of(counted(map(self._row, sorted(self._paths())), say))

    def _paths(self) -> Iterator[bytes]:
        root = os.fsencode(self.root)
        return (os.path.relpath(path, root) for path in _files(root, ()))

    def _row(self, path: bytes) -> Row:
        return row_of(path, stat_file(self._absolute(path)))

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(os.fsencode(self.root), path)  # noqa: PTH118  (pathlib takes no bytes)

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        """See `Source`."""
        return read_file(self._absolute(unquote_to_bytes(source_uri)), max_bytes)


def stat_file(path: bytes) -> Stat:
    """Etag and size of a file; (None, None) where it is missing or a dangling link: `read_file` names the reason."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None, None
    return f"{status.st_size:x}-{status.st_mtime_ns:x}", status.st_size


def read_file(path: bytes, max_bytes: int) -> bytes:
    """Read the bytes of one file.

    Raises:
        ImageError: it is no regular file, too large, or cannot be read.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("unreadable: not a regular file")
        if status.st_size > max_bytes:
            raise too_large(status.st_size, max_bytes)
        return Path(os.fsdecode(path)).read_bytes()
    except OSError as error:
        raise ImageError(f"unreadable: {type(error).__name__}: {error.strerror}") from error


def _files(folder: bytes, above: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    """Files below a folder, also in linked folders. A link to a folder that contains it is skipped: it has no end."""
    status = os.stat(folder)  # noqa: PTH116
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _files(entry.path, (*above, here))
        else:
            yield entry.path
