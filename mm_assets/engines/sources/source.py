"""The one seam to the places where images come from: list everything, read one object under a limit."""

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
# Reasons that only a listing gives (a line's number may follow): reading the object again would not change them.
BAD_LINE, REPEATED, UNSUPPORTED = "bad manifest line", "repeated id", "unsupported uri"
REFUSALS = (BAD_LINE, REPEATED, UNSUPPORTED)
# Rows that are Python objects at once, while a listing of any length becomes a table.
BATCH_ROWS = 10_000

Row = dict[str, Any]
# What tells a new version of an object (None: it cannot be found), and its size in bytes.
Stat = tuple[str | None, int | None]


class Source(Protocol):
    """A place of images; small, and travels to every worker."""

    @property
    def place(self) -> str:
        """The place as its user wrote it."""

    def list(self, say: Callable[[str], None]) -> pa.Table:
        """All entries in a stable order, with the schema LISTING, those that are no images too.

        Args:
            say: where progress goes.

        Raises:
            RefusalError, OSError: a part cannot be listed (what is not seen would look like removed images).
        """

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        """The bytes of one listed object.

        Raises:
            ImageError: something is wrong with this object alone.
            Exception: something is wrong with the place as a whole.
        """


def row_of(path: bytes, stat: Stat) -> Row:
    """The row of an object below a folder or a prefix: its label is the first folder.

    `source_uri` is relative and percent-encoded, so that any name survives and no absolute path is stored.
    """
    etag, size = stat
    folder, below, _ = path.partition(b"/")
    label = _text(folder) if below and folder else None
    return {"image_id": _text(path), "source_uri": quote(path), "etag": etag, "size": size, "label": label}


def object_name(image_id: str, source_uri: str | None) -> str:
    """The name of an object that was listed, for a person to read.

    What `row_of` has made of a path is decoded. The uri of a manifest's line stands as it is there: what it encodes is
    its own affair.
    """
    if not source_uri:
        return image_id
    return unquote(source_uri, errors="backslashreplace") if is_row_of_path(image_id, source_uri) else source_uri


def is_row_of_path(image_id: str, source_uri: str) -> bool:
    """Whether `row_of` makes this id and uri, of one path: a listing does not tell its kind of source.

    A manifest's line has its uri for an id, or an id of its own; where that is the uri decoded, the two cannot be told
    apart.
    """
    row = row_of(unquote_to_bytes(source_uri), (None, None))
    return (row["image_id"], row["source_uri"]) == (image_id, source_uri)


def _text(name: bytes) -> str:
    # A byte that is not UTF-8 becomes \xNN, and a backslash two, so that no two names meet.
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def too_large(size: int, max_bytes: int) -> ImageError:
    """What is wrong with an object of so many bytes."""
    return ImageError(f"too many bytes: {size}, the limit is {max_bytes}")


def table_of(rows: Iterable[Row], schema: pa.Schema = LISTING) -> pa.Table:
    """Rows as a table; ten million dictionaries at once would not fit into the memory that their table takes."""
    remaining = iter(rows)
    batches = iter(lambda: list(islice(remaining, BATCH_ROWS)), [])
    return pa.Table.from_batches([pa.RecordBatch.from_pylist(batch, schema) for batch in batches], schema)


def counted(rows: Iterable[Row], say: Callable[[str], None]) -> Iterator[Row]:
    """The same rows; every few seconds it says how many came by, and how fast."""
    progress = Pace("objects listed", None, say)
    for row in rows:
        progress.add(1)
        yield row
