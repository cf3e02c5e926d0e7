"""List the source; read, decode, hash and store what changed, on Ray, one commit per batch."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lance_tables import LakeTables, difference, replace_rows, sync_rows, write_fragments
from mm_assets.engines.object_store import FolderSource
from mm_assets.engines.ray_tasks import Cluster, Progress
from mm_assets.engines.sandbox import DecodeLimits, DecodeSandbox
from mm_assets.images import ImageError, ImageInfo
from mm_assets.ingest.tables import IMAGES, IMAGES_SCHEMA, OBJECTS, OBJECTS_SCHEMA
from mm_assets.lineage.refs import Final, RefusalError, Step
from mm_assets.settings import IngestSettings

SOURCE = "mm.source"
# What a worker holds in memory at once; a batch is cut into pieces of this size.
PIECE_BYTES = 64 * 2**20


def list_objects(step: Step, tables: LakeTables, source: FolderSource, identity: str) -> Final:
    """Make `objects.lance` equal to the listing of the source.

    Raises:
        RefusalError: the lake belongs to another source, or the source has no files.
    """
    listing = source.list()
    if not listing.num_rows:
        raise RefusalError(f"source (MM_SOURCE): there are no files in {source.root}")
    ds = tables.open_or_create(OBJECTS, OBJECTS_SCHEMA, step.properties(["raw_images"], 0), {SOURCE: identity})
    if ds.schema.metadata[SOURCE.encode()].decode() != identity:
        raise RefusalError(
            f"the lake {tables.root} belongs to another source: set MM_LAKE to a new folder for this MM_SOURCE"
        )
    labels = Counter(listing["label"].to_pylist())
    final = Final({"rows": listing.num_rows, "bytes": pc.sum(listing["size"]).as_py(), "labels": _sorted(labels)})
    properties = step.properties(["raw_images"], 1, {"raw_images": final})
    sync_rows(tables, ds, OBJECTS, "image_id", listing, properties)
    return final


@dataclass(frozen=True)
class Piece:
    """What one worker stored: uncommitted fragments, the number of rows, and how many were rejected for what."""

    fragments: list[lance.FragmentMetadata]
    rows: int
    rejected: Counter[str]


class ImageWriter:
    """Reads objects, decodes them in a sandbox and writes their rows as fragments; runs as a Ray actor."""

    def __init__(self, tables: LakeTables, source: FolderSource, limits: DecodeLimits, max_bytes: int) -> None:
        self._tables, self._source, self._max_bytes = tables, source, max_bytes
        self._sandbox = DecodeSandbox(limits)

    def __call__(self, objects: pa.Table) -> Piece:
        """Store one piece of the listing; every object becomes a row, whatever is wrong with it."""
        rows = [self._row(item) for item in objects.to_pylist()]
        columns = {name: [row.get(name) for row in rows] for name in IMAGES_SCHEMA.names}
        arrays = {**columns, "image": lance.blob_array(columns["image"])}
        fragments = write_fragments(self._tables, IMAGES, pa.table(arrays, schema=IMAGES_SCHEMA))
        rejected = Counter(row["error"].split(":")[0] for row in rows if "error" in row)
        return Piece(fragments, len(rows), rejected)

    def _row(self, item: dict[str, Any]) -> dict[str, Any]:
        row = {name: item[name] for name in ("image_id", "source_uri", "etag", "label", "caption")}
        row["num_bytes"] = item["size"]
        try:
            data = self._source.read(item["source_uri"], self._max_bytes)
            row |= {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            info: ImageInfo = self._sandbox.inspect(data)
        except ImageError as error:
            return row | {"error": str(error)}
        return row | {"image": data, "format": info.format, "width": info.width, "height": info.height}


def store_images(
    step: Step, tables: LakeTables, cluster: Cluster, source: FolderSource, settings: IngestSettings
) -> Final:
    """Bring `images.lance` up to the pinned listing: new and changed objects are read, removed ones taken out."""
    ds = tables.open_or_create(IMAGES, IMAGES_SCHEMA, step.properties(["image_table"], 0))
    objects = tables.open_at(step.ref("raw_images")).to_table()
    current = ds.to_table(columns=["image_id", "source_uri", "etag", "label", "caption", "error"])
    listed = objects.select([name for name in current.schema.names if name != "error"])
    wanted, gone = difference(current, listed, "image_id")
    known = {*wanted, *gone}
    wanted += [key for key in _newly_judged(step, ds, settings) if key not in known]
    todo = objects.filter(pc.is_in(objects["image_id"], pa.array(wanted, pa.string())))
    replaced = set(current["image_id"].to_pylist()) & set(wanted)
    step.log(f"{todo.num_rows:,} of {objects.num_rows:,} objects to read, {len(gone):,} removed")

    limits = DecodeLimits(settings.max_pixels, settings.decode_timeout_s, settings.decode_memory_bytes)
    progress, rejected = Progress("images", todo.num_rows, step.log), _rejected(current, {*wanted, *gone})
    batches = list(_cut(todo, settings.batch_rows, settings.batch_bytes)) or ([todo] if gone else [])
    workers = cluster.cpus() if todo.num_rows else 1
    cuts = [list(_cut(batch, -(-batch.num_rows // workers), PIECE_BYTES)) for batch in batches]
    arguments = (tables, source, limits, settings.max_bytes)
    done = cluster.map_batches(ImageWriter, arguments, cuts, lambda piece: progress.add(piece.rows))
    for number, (batch, pieces) in enumerate(zip(batches, done, strict=True), start=1):
        rejected.update(reason for piece in pieces for reason in piece.rejected.elements())
        last = number == len(batches)
        drop = [key for key in batch["image_id"].to_pylist() if key in replaced] + (gone if last else [])
        final = _final(objects.num_rows, todo.num_rows, len(gone), rejected)
        properties = step.properties(["image_table"], number, {"image_table": final} if last else None)
        fragments = [fragment for piece in pieces for fragment in piece.fragments]
        replace_rows(tables.open(IMAGES), "image_id", drop, fragments, properties)
    return _final(objects.num_rows, todo.num_rows, len(gone), rejected)


def _rejected(current: pa.Table, except_for: set[str]) -> Counter[str]:
    """How many rows that stay as they are were rejected, by reason."""
    pairs = zip(current["image_id"].to_pylist(), current["error"].to_pylist(), strict=True)
    return Counter(error.split(":")[0] for key, error in pairs if error is not None and key not in except_for)


def _final(rows: int, read: int, removed: int, rejected: Counter[str]) -> Final:
    counts = {"rows": rows, "rows_read": read, "rows_removed": removed, "rows_rejected": rejected.total()}
    return Final({**counts, "rejected_for": _sorted(rejected)})


def _newly_judged(step: Step, ds: lance.LanceDataset, settings: IngestSettings) -> list[str]:
    """Rows that other limits may judge otherwise: only where the limits (the code version) changed."""
    before = step.last_record("image_table")
    if before is None or before.code_version == step.code_versions["image_table"]:
        return []
    over = f"num_bytes > {settings.max_bytes} or width * height > {settings.max_pixels}"
    rows = ds.to_table(columns=["image_id"], filter=f"error is not null or {over}")
    return rows["image_id"].to_pylist()


def _cut(objects: pa.Table, max_rows: int, max_bytes: int) -> Iterator[pa.Table]:
    """Consecutive slices of at most so many rows and (but for a single larger object) so many bytes."""
    start, size = 0, 0
    for position, num_bytes in enumerate(objects["size"].to_pylist()):
        if position > start and (position - start >= max_rows or size + (num_bytes or 0) > max_bytes):
            yield objects.slice(start, position - start)
            start, size = position, 0
        size += num_bytes or 0
    if start < objects.num_rows:
        yield objects.slice(start)


def _sorted(counts: Counter[Any]) -> dict[str, int]:
    return {str(name): counts[name] for name in sorted(counts, key=str)}
