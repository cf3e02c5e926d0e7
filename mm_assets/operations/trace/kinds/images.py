"""Images, now and before: the rows that held them, and the way up from a row to its source object."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mm_assets.catalog import IMAGE_TABLE, RAW_IMAGES
from mm_assets.engines.lake.rows import is_in
from mm_assets.engines.sources.source import is_row_of_path, object_name
from mm_assets.lineage.records import Record
from mm_assets.operations.trace.kinds.versions import unreadable_version
from mm_assets.operations.trace.lake import Row, TracedLake, rows_where
from mm_assets.operations.trace.nodes import Node
from mm_assets.operations.trace.reader import Reader
from mm_assets.stages.ingest.tables import IMAGES

ASSET = IMAGE_TABLE.key
FACTS = ["sha256", "format", "width", "height", "num_bytes", "label", "caption", "error", "source_uri", "etag"]
CREATED, UPDATED = "_row_created_at_version", "_row_last_updated_at_version"
COLUMNS = ["image_id", *FACTS, CREATED, UPDATED]
OBJECT_FACTS = ["source_uri", "etag", "size", "label", "error"]


@dataclass(frozen=True)
class ImageRow:
    """A row of the image table, as the newest materialization that still has it holds it."""

    record: Record
    row: Row


@dataclass(frozen=True)
class Past:
    """One image in all readable versions: its rows, newest first. Other bytes make another row."""

    lake: TracedLake
    image_id: str
    rows: Sequence[ImageRow]

    @property
    def last(self) -> ImageRow | None:
        """The newest row."""
        return self.rows[0] if self.rows else None

    @cached_property
    def is_current(self) -> bool:
        """Whether the newest materialization has the image."""
        return bool(self.rows) and self.rows[0].record.ref == self.lake.readable(ASSET)[0].ref

    @property
    def sha256(self) -> str | None:
        """Digest of the newest bytes that can be read."""
        return self.rows[0].row["sha256"] if self.rows else None

    def holding(self, sha256: str | None) -> ImageRow | None:
        """The newest row with these bytes."""
        return next((item for item in self.rows if item.row["sha256"] == sha256), None)


def find_rows(
    lake: TracedLake, values_by_column: Mapping[str, Sequence[str]], columns: Iterable[str]
) -> list[ImageRow]:
    """Rows of all materialized versions of the image table that can still be read, newest first, each once.

    Args:
        lake: the lake.
        values_by_column: a row that has one of them is read.
        columns: to read, besides these.
    """
    condition = " or ".join(is_in(column, values) for column, values in values_by_column.items())
    reader = Reader(condition, list(dict.fromkeys([*columns, "image_id", *values_by_column])))
    rows: dict[int, ImageRow] = {}
    for record in lake.readable(ASSET):
        for row in reader.rows(lake.at(record.ref)):
            rows.setdefault(row["_rowid"], ImageRow(record, row))
    return sorted(rows.values(), key=lambda item: (-item.record.ref.version, -item.row["_rowid"]))


def read_pasts(lake: TracedLake, image_ids: Sequence[str]) -> dict[str, Past]:
    """The past of each image, by id."""
    return _pasts_of(lake, image_ids, find_rows(lake, {"image_id": image_ids}, COLUMNS))


def read_pasts_at(lake: TracedLake, name: str, encoded: str) -> dict[str, Past]:
    """The past of an image, and of those that were ever at this place (mostly the same one), by id.

    Args:
        lake: the lake.
        name: image id, or source uri as it is stored.
        encoded: the source uri that a folder or bucket would give an object of this name.
    """
    candidates = find_rows(lake, {"image_id": [name], "source_uri": list(dict.fromkeys([name, encoded]))}, COLUMNS)
    places = [(item.row["image_id"], item.row["source_uri"]) for item in candidates]
    rows = [item for item, place in zip(candidates, places, strict=True) if name in place or is_row_of_path(*place)]
    image_ids = list(dict.fromkeys([name, *(item.row["image_id"] for item in rows)]))
    return _pasts_of(lake, image_ids, rows) if image_ids == [name] else read_pasts(lake, image_ids)


def _pasts_of(lake: TracedLake, image_ids: Sequence[str], rows: Sequence[ImageRow]) -> dict[str, Past]:
    by_image: dict[str, list[ImageRow]] = {image_id: [] for image_id in image_ids}
    for item in rows:
        by_image[item.row["image_id"]].append(item)
    return {image_id: Past(lake, image_id, own) for image_id, own in by_image.items()}


def image_facts(item: ImageRow) -> dict[str, Any]:
    """What the image table has of an image."""
    return {"data_version": item.record.data_version, **{name: item.row[name] for name in FACTS}}


def image_node(lake: TracedLake, item: ImageRow, kind: str = "image") -> Node:
    """An image as the origin of something, with the way up to its object."""
    return Node(kind, item.row["image_id"], image_facts(item), origin_of(lake, item))


def pinned_node(past: Past, sha256: str | None, data_version: str | None) -> Node:
    """The bytes that something was made from, at the version that it pinned (`pinned`).

    Where that version cannot be read any more, another row with these bytes stands in: same bytes, same row.
    """
    lake, record = past.lake, past.lake.history.first_of_version.get((ASSET, data_version or ""))
    ds = lake.at(record.ref) if record else None
    pinned_rows = rows_where(ds, is_in("image_id", [past.image_id]), COLUMNS)
    same = [ImageRow(record, row) for row in pinned_rows if record and row["sha256"] == sha256]
    image_row = same[0] if same else past.holding(sha256)
    if image_row is None:
        nowhere = {"asset": ASSET, "why": "no version that can be read has these bytes"}
        return unreadable_version(lake, ASSET, data_version) if data_version else Node("let go", ASSET, nowhere)
    return Node("image", past.image_id, {**image_facts(image_row), "pinned": data_version}, origin_of(lake, image_row))


def origin_of(lake: TracedLake, item: ImageRow) -> tuple[Node, ...]:
    """The commits that wrote a row, and the object that it is of."""
    written = lake.commit(IMAGES, item.row[CREATED], ASSET)
    nodes = [Node("commit", written["data_version"], {"did": "wrote the row", **written})]
    if item.row[UPDATED] != item.row[CREATED]:
        changed = lake.commit(IMAGES, item.row[UPDATED])
        nodes.append(Node("commit", changed["data_version"], {"did": "changed cells of it last", **changed}))
    return (*nodes, *_objects(lake, item))


def _objects(lake: TracedLake, item: ImageRow) -> Iterator[Node]:
    for listing in (read for read in item.record.inputs if read.asset == RAW_IMAGES.key):
        ref = lake.ref(listing.asset, listing.data_version)
        ds = lake.at(ref)
        if ds is None:
            yield unreadable_version(lake, listing.asset, listing.data_version)
            continue
        for row in rows_where(ds, is_in("image_id", [item.row["image_id"]]), ["image_id", *OBJECT_FACTS]):
            name = object_name(row.pop("image_id"), row["source_uri"])
            yield Node("object", name, {"data_version": listing.data_version, **row})


def earlier_nodes(lake: TracedLake, past: Past) -> tuple[Node, ...]:
    """Rows that an image had before, and the versions that cannot be read any more."""
    nodes = (image_node(lake, item, _kind_of_earlier(past, item)) for item in past.rows[1:])
    return (*nodes, *_unreadable_versions(lake))


def _kind_of_earlier(past: Past, item: ImageRow) -> str:
    """An image that was removed and put back has the same bytes in another row."""
    return "earlier row" if item.row["sha256"] in (None, past.sha256) else "earlier bytes"


def _unreadable_versions(lake: TracedLake) -> Iterator[Node]:
    unreadable = [record.data_version for record in lake.materialized(ASSET) if lake.at(record.ref) is None]
    expired = [version for version in unreadable if (ASSET, version) in lake.expired]
    others = [version for version in unreadable if (ASSET, version) not in lake.expired]
    for why, versions in (("expired", expired), ("removed", others)):
        if versions:
            yield Node("let go", ASSET, {"asset": ASSET, "versions": versions, "why": why})
