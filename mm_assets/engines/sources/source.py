"""The one seam to the sources of images: list all entries, read one object under a limit of bytes."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol
from urllib.parse import quote, unquote, unquote_to_bytes

import pyarrow as pa

from mm_assets.engines.lake.fields import schema_of
from mm_assets.images import ImageError
from mm_assets.lineage.columns import Column, Kind
from mm_assets.pace import Pace

LISTING_COLUMNS = (
    Column("image_id", pa.string(), "The manifest's own id, else the path below the source.", kind=Kind.KEY),
    Column(
        "source_uri",
        pa.string(),
        "Where the object lies: relative to the source and percent-encoded, or as the manifest says.",
    ),
    Column(
        "etag",
        pa.string(),
        "What tells a new version of the object: the store's ETag, or size and time of a file.",
    ),
    Column("size", pa.int64(), "Bytes of the object as it was listed."),
    Column("label", pa.string(), "The class: the manifest's, else the first folder of the path."),
    Column("caption", pa.string(), "What the manifest says of the image."),
    Column(
        "error",
        pa.string(),
        "Why the listing itself refuses the entry, as `<reason>: <detail>`; null where it does not.",
    ),
)
LISTING = schema_of(LISTING_COLUMNS)
# Reasons that only a listing gives (a line's number may follow). A second read of the object would not change them.
BAD_LINE, REPEATED, UNSUPPORTED = "bad manifest line", "repeated id", "unsupported uri"
REFUSALS = (BAD_LINE, REPEATED, UNSUPPORTED)
# Rows that are Python objects at one time, while a listing becomes a table.
BATCH_ROWS = 10_000

Row = dict[str, Any]
# Etag of an object (every new version has another one) and its size in bytes; None where the object is missing.
Stat = tuple[str | None, int | None]


class Source(Protocol):
    """A place of images; small, and travels to every worker."""

    @property
    def place(self) -> str:
        """The place, as the user wrote it."""

    def list(self, say: Callable[[str], None]) -> pa.Table:
        """All entries, also those that are no images, in a stable order and with the schema LISTING.

        Args:
            say: told about progress.

        Raises:
            RefusalError, OSError: a part cannot be listed. A partial listing would look like removed images.
        """

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        """Read the bytes of one listed object.

        Raises:
            ImageError: this object alone cannot be read.
            Exception: the source as a whole cannot be read.
        """


def row_of(path: bytes, stat: Stat) -> Row:
    """The row of an object below a folder or a prefix: its label is the first folder.

    `source_uri` is relative and percent-encoded: every name can be stored, and no absolute path is.
    """
    etag, size = stat
    folder, below, _ = path.partition(b"/")
    label = _text(folder) if below and folder else None
    return {"image_id": _text(path), "source_uri": quote(path), "etag": etag, "size": size, "label": label}


def object_name(image_id: str, source_uri: str | None) -> str:
    """The name of a listed object for a person to read.

    A uri that `row_of` made from a path is decoded. The uri of a manifest's line stays as the manifest has it.
    """
    if not source_uri:
        return image_id
    return unquote(source_uri, errors="backslashreplace") if is_row_of_path(image_id, source_uri) else source_uri


def is_row_of_path(image_id: str, source_uri: str) -> bool:
    """Whether `row_of` makes this id and uri from one path; a listing does not store its kind of source.

    A manifest's line has an id of its own, or its uri as id. Where that id is the decoded uri, the answer is True too.
    """
    row = row_of(unquote_to_bytes(source_uri), (None, None))
    return (row["image_id"], row["source_uri"]) == (image_id, source_uri)


def _text(name: bytes) -> str:
    # A byte that is not UTF-8 becomes \xNN. A backslash becomes two, so that different names stay different.
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def too_large(size: int, max_bytes: int) -> ImageError:
    """The error of an object with more bytes than the limit."""
    return ImageError(f"too many bytes: {size}, the limit is {max_bytes}")


def table_of(rows: Iterable[Row], schema: pa.Schema = LISTING) -> pa.Table:
    """Rows as a table, made batch by batch: ten million dictionaries take far more memory than their table."""
    remaining = iter(rows)
    batches = iter(lambda: list(islice(remaining, BATCH_ROWS)), [])
    return pa.Table.from_batches([pa.RecordBatch.from_pylist(batch, schema) for batch in batches], schema)


def counted(rows: Iterable[Row], say: Callable[[str], None]) -> Iterator[Row]:
    """Pass rows on, and say every few seconds how many came, and how fast."""
    progress = Pace("objects listed", None, say)
    for row in rows:
        progress.add(1)
        yield row
