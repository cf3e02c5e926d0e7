"""Images in the lake's past and present: which rows held them, and the way up from a row to its source object."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mm_assets.catalog import IMAGE_TABLE, RAW_IMAGES
from mm_assets.engines.lake.rows import is_in
from mm_assets.engines.sources.source import is_row_of_path, object_name
from mm_assets.lineage.records import Record
from mm_assets.operations.trace.kinds.versions import let_go
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
class Seen:
    """A row of the image table, as the newest materialization that still has it holds it."""

    record: Record
    row: Row


@dataclass(frozen=True)
class Past:
    """All that can be read of one image: its rows, newest first; a row is replaced where the bytes are others."""

    lake: TracedLake
    image_id: str
    seen: Sequence[Seen]

    @property
    def last(self) -> Seen | None:
        """The newest row."""
        return self.seen[0] if self.seen else None

    @cached_property
    def is_current(self) -> bool:
        """Whether the newest materialization has the image."""
        return bool(self.seen) and self.seen[0].record.ref == self.lake.readable(ASSET)[0].ref

    @property
    def sha256(self) -> str | None:
        """Digest of the newest bytes that are known."""
        return self.seen[0].row["sha256"] if self.seen else None

    def holding(self, sha256: str | None) -> Seen | None:
        """The newest row with these bytes."""
        return next((item for item in self.seen if item.row["sha256"] == sha256), None)


def search(lake: TracedLake, wanted: Mapping[str, Sequence[str]], columns: Iterable[str]) -> list[Seen]:
    """Rows of all materialized versions of the image table that can still be read, newest first, each once.

    Args:
        lake: the lake.
        wanted: values by column; a row that has one of them is found.
        columns: to read, besides these.
    """
    condition = " or ".join(is_in(column, values) for column, values in wanted.items())
    reader = Reader(condition, list(dict.fromkeys([*columns, "image_id", *wanted])))
    found: dict[int, Seen] = {}
    for record in lake.readable(ASSET):
        for row in reader.rows(lake.at(record.ref)):
            found.setdefault(row["_rowid"], Seen(record, row))
    return sorted(found.values(), key=lambda item: (-item.record.ref.version, -item.row["_rowid"]))


def pasts(lake: TracedLake, image_ids: Sequence[str]) -> dict[str, Past]:
    """The past of each image, by id."""
    return _pasts(lake, image_ids, search(lake, {"image_id": image_ids}, COLUMNS))


def pasts_at(lake: TracedLake, name: str, encoded: str) -> dict[str, Past]:
    """The past of an image, and of those that were ever at this place (mostly the same one), by id.

    Args:
        lake: the lake.
        name: image id, or source uri as it is stored.
        encoded: the source uri that a folder or bucket would give an object of this name.
    """
    found = search(lake, {"image_id": [name], "source_uri": list(dict.fromkeys([name, encoded]))}, COLUMNS)
    places = [(item.row["image_id"], item.row["source_uri"]) for item in found]
    seen = [item for item, place in zip(found, places, strict=True) if name in place or is_row_of_path(*place)]
    image_ids = list(dict.fromkeys([name, *(item.row["image_id"] for item in seen)]))
    return _pasts(lake, image_ids, seen) if image_ids == [name] else pasts(lake, image_ids)


def _pasts(lake: TracedLake, image_ids: Sequence[str], seen: Sequence[Seen]) -> dict[str, Past]:
    rows: dict[str, list[Seen]] = {image_id: [] for image_id in image_ids}
    for item in seen:
        rows[item.row["image_id"]].append(item)
    return {image_id: Past(lake, image_id, own) for image_id, own in rows.items()}


def facts(item: Seen) -> dict[str, Any]:
    """What the table says of an image."""
    return {"data_version": item.record.data_version, **{name: item.row[name] for name in FACTS}}


def image_node(lake: TracedLake, item: Seen, kind: str = "image") -> Node:
    """An image as another thing's origin: with the way up to its object."""
    return Node(kind, item.row["image_id"], facts(item), origin(lake, item))


def pinned_node(past: Past, sha256: str | None, data_version: str | None) -> Node:
    """The bytes that something was made from, at the version that it has pinned (`pinned` names it).

    Where that version is not there any more, another one that has the bytes stands in: a row stays as its bytes do.
    """
    lake, record = past.lake, past.lake.history.first_of_version.get((ASSET, data_version or ""))
    ds = lake.at(record.ref) if record else None
    rows = rows_where(ds, is_in("image_id", [past.image_id]), COLUMNS)
    same = [Seen(record, row) for row in rows if record and row["sha256"] == sha256]
    seen = same[0] if same else past.holding(sha256)
    if seen is None:
        nowhere = {"asset": ASSET, "why": "no version that can be read has these bytes"}
        return let_go(lake, ASSET, data_version) if data_version else Node("let go", ASSET, nowhere)
    return Node("image", past.image_id, {**facts(seen), "pinned": data_version}, origin(lake, seen))


def origin(lake: TracedLake, item: Seen) -> tuple[Node, ...]:
    """The commits that wrote a row, and the object that it is of."""
    written = lake.commit(IMAGES, item.row[CREATED], ASSET)
    nodes = [Node("commit", written["data_version"], {"did": "wrote the row", **written})]
    if item.row[UPDATED] != item.row[CREATED]:
        changed = lake.commit(IMAGES, item.row[UPDATED])
        nodes.append(Node("commit", changed["data_version"], {"did": "changed cells of it last", **changed}))
    return (*nodes, *_objects(lake, item))


def _objects(lake: TracedLake, item: Seen) -> Iterator[Node]:
    for listing in (found for found in item.record.inputs if found.asset == RAW_IMAGES.key):
        ref = lake.ref(listing.asset, listing.data_version)
        ds = lake.at(ref)
        if ds is None:
            yield let_go(lake, listing.asset, listing.data_version)
            continue
        for row in rows_where(ds, is_in("image_id", [item.row["image_id"]]), ["image_id", *OBJECT_FACTS]):
            name = object_name(row.pop("image_id"), row["source_uri"])
            yield Node("object", name, {"data_version": listing.data_version, **row})


def earlier(lake: TracedLake, past: Past) -> tuple[Node, ...]:
    """Rows that an image had before, and the versions that nobody can ask any more."""
    shown = (image_node(lake, item, _kind_of_earlier(past, item)) for item in past.seen[1:])
    return (*shown, *_gone(lake))


def _kind_of_earlier(past: Past, item: Seen) -> str:
    """An image that was removed and put back has the same bytes in another row."""
    return "earlier row" if item.row["sha256"] in (None, past.sha256) else "earlier bytes"


def _gone(lake: TracedLake) -> Iterator[Node]:
    gone = [record.data_version for record in lake.materialized(ASSET) if lake.at(record.ref) is None]
    taken = [version for version in gone if (ASSET, version) in lake.expired]
    others = [version for version in gone if (ASSET, version) not in lake.expired]
    for why, versions in (("let go by maintenance", taken), ("removed", others)):
        if versions:
            yield Node("let go", ASSET, {"asset": ASSET, "versions": versions, "why": why})
