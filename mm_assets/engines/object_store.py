"""The one seam to the places where images come from: list everything, read one object under a limit."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pyarrow as pa

from mm_assets.images import ImageError

LISTING = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("source_uri", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("caption", pa.string()),
    ]
)


@dataclass(frozen=True)
class FolderSource:
    """A folder of images: the label of a file is the first folder below the root, and every file is listed.

    `source_uri` is relative to the root and percent-encoded, so that any name survives and no absolute path is stored.
    """

    root: str

    def list(self) -> pa.Table:
        """All files in a stable order, hidden ones and those that are no images too.

        Returns:
            One row a file, with the schema LISTING. The etag is made of size and modification time.

        Raises:
            OSError: a folder cannot be listed (an unseen folder would look like removed images).
        """
        rows = [self._row(path) for path in sorted(self._paths())]
        return pa.Table.from_pylist(rows, schema=LISTING)

    def _paths(self) -> Iterator[bytes]:
        root = os.fsencode(self.root)
        return (os.path.relpath(path, root) for path in _files(root, ()))

    def _row(self, path: bytes) -> dict[str, object]:
        uri = quote(path)
        etag, size = self._etag(path)
        folder = path.split(b"/")[0] if b"/" in path else None
        return {
            "image_id": _text(path),
            "source_uri": uri,
            "etag": etag,
            "size": size,
            "label": folder and _text(folder),
            "caption": None,
        }

    def _etag(self, path: bytes) -> tuple[str | None, int | None]:
        try:
            status = os.stat(os.path.join(os.fsencode(self.root), path))  # noqa: PTH116, PTH118
        except OSError:  # a dangling link, or a file that went away: reading it will name the reason
            return None, None
        return f"{status.st_size:x}-{status.st_mtime_ns:x}", status.st_size

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        """The bytes of one object.

        Raises:
            ImageError: it is no regular file, too large, or cannot be read.
        """
        path = os.path.join(os.fsencode(self.root), unquote_to_bytes(source_uri))  # noqa: PTH118
        try:
            status = os.stat(path)  # noqa: PTH116
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("unreadable: not a regular file")
            if status.st_size > max_bytes:
                raise ImageError(f"too many bytes: {status.st_size}, the limit is {max_bytes}")
            return Path(os.fsdecode(path)).read_bytes()
        except OSError as error:
            raise ImageError(f"unreadable: {type(error).__name__}: {error.strerror}") from error


def _files(folder: bytes, above: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    """Files below a folder; linked folders too, but for a link to a folder that it lies in, which would never end."""
    status = os.stat(folder)  # noqa: PTH116  (pathlib takes no bytes, and a name may be any bytes)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _files(entry.path, (*above, here))
        else:
            yield entry.path


def _text(name: bytes) -> str:
    # A byte that is not UTF-8 becomes \xNN, and a backslash two, so that no two names meet.
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
