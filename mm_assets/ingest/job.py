"""List the source; read, decode, hash and store what changed, on Ray, one commit per batch."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lance_tables import LakeTables, difference, replace_rows, sync_rows, write_fragments
from mm_assets.engines.object_store import REFUSALS, Source
from mm_assets.engines.progress import Progress
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.engines.sandbox import DecodeLimits, DecodeSandbox
from mm_assets.images import ImageError, ImageInfo
from mm_assets.ingest.tables import IMAGES, IMAGES_SCHEMA, OBJECTS, OBJECTS_SCHEMA
from mm_assets.lineage.refs import Final, RefusalError, Step
from mm_assets.reasons import reasons
from mm_assets.settings import IngestSettings

SOURCE = "mm.source"
# What a worker holds in memory at once; a batch is cut into pieces of this size.
PIECE_BYTES = 64 * 2**20
# A piece of so many listed objects of which none can be read speaks against the place.
SUSPICIOUS = 16
# Objects that a worker reads at once: a bucket answers after tens of milliseconds, a decoder should not wait for it.
READ_AHEAD = 16


def list_objects(step: Step, tables: LakeTables, source: Source, identity: str) -> Final:
    """Make `objects.lance` equal to the listing of the source.

    Raises:
        RefusalError: the lake belongs to another source, or the source is empty or cannot be listed.
    """
    listing = source.list(step.log)
    if not listing.num_rows:
        raise RefusalError(f"source (MM_SOURCE): there are no objects in {source.place}")
    ds = tables.open_or_create(OBJECTS, OBJECTS_SCHEMA, step.properties(["raw_images"], 0), {SOURCE: identity})
    if ds.schema.metadata[SOURCE.encode()].decode() != identity:
        raise RefusalError(
            f"the lake {tables.root} belongs to another source: set MM_LAKE to a new folder for this MM_SOURCE"
        )
    final = Final(_described(listing))
    properties = step.properties(["raw_images"], 1, {"raw_images": final})
    sync_rows(tables, ds, OBJECTS, "image_id", listing, properties)
    return final


def _described(listing: pa.Table) -> dict[str, Any]:
    fine = listing.filter(pc.is_null(listing["error"]))
    return {
        "rows": listing.num_rows,
        "rows_refused": listing.num_rows - fine.num_rows,
        "bytes": pc.sum(fine["size"]).as_py() or 0,
        "labels": _sorted(Counter(fine["label"].to_pylist())),
    }


@dataclass(frozen=True)
class Piece:
    """What one worker stored: uncommitted fragments, the number of rows, and how many were rejected for what."""

    fragments: list[lance.FragmentMetadata]
    rows: int
    rejected: Counter[str]


class ImageWriter:
    """Reads objects, decodes them in a sandbox and writes their rows as fragments; runs as a Ray actor."""

    def __init__(self, tables: LakeTables, source: Source, limits: DecodeLimits, max_bytes: int) -> None:
        self._tables, self._source, self._max_bytes = tables, source, max_bytes
        self._sandbox = DecodeSandbox(limits)
        self._readers = ThreadPoolExecutor(READ_AHEAD)

    def __call__(self, objects: pa.Table) -> Piece:
        """Store one piece of the listing; every object becomes a row, whatever is wrong with it."""
        items = objects.to_pylist()
        rows = [self._row(item, data) for item, data in zip(items, self._readers.map(self._read, items), strict=True)]
        columns = {name: [row.get(name) for row in rows] for name in IMAGES_SCHEMA.names}
        arrays = {**columns, "image": lance.blob_array(columns["image"])}
        fragments = write_fragments(self._tables, IMAGES, pa.table(arrays, schema=IMAGES_SCHEMA))
        rejected = _counted(pa.array([row["error"] for row in rows if "error" in row], pa.string()))
        _suspect(items, rows)
        return Piece(fragments, len(rows), rejected)

    def _read(self, item: dict[str, Any]) -> bytes | ImageError:
        """The bytes of an object, or what is wrong with it; anything that is not its own fault ends the job."""
        if item["error"] is not None:
            return ImageError(item["error"])
        try:
            return self._source.read(item["source_uri"], self._max_bytes)
        except ImageError as error:
            return error

    def _row(self, item: dict[str, Any], data: bytes | ImageError) -> dict[str, Any]:
        row = {name: item[name] for name in ("image_id", "source_uri", "etag", "label", "caption")}
        row["num_bytes"] = item["size"]
        if isinstance(data, ImageError):
            return row | {"error": str(data)}
        row |= {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        try:
            info: ImageInfo = self._sandbox.inspect(data)
        except ImageError as error:
            return row | {"error": str(error)}
        return row | {"image": data, "format": info.format, "width": info.width, "height": info.height}


def _suspect(items: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Objects that were there when they were listed, of which none can be read now, are not the ones at fault.

    Raises:
        RuntimeError: with the first one's reason.
    """
    reasons = [row.get("error", "") for item, row in zip(items, rows, strict=True) if item["etag"] is not None]
    if len(reasons) >= SUSPICIOUS and all(reason.startswith("unreadable") for reason in reasons):
        raise RuntimeError(
            f"none of {len(reasons)} objects could be read ({reasons[0]}): check the source's permissions"
        )


def store_images(step: Step, tables: LakeTables, cluster: Cluster, source: Source, settings: IngestSettings) -> Final:
    """Bring `images.lance` up to the pinned listing: new and changed objects are read, removed ones taken out."""
    ds = tables.open_or_create(IMAGES, IMAGES_SCHEMA, step.properties(["image_table"], 0))
    objects = tables.open_at(step.ref("raw_images")).to_table()
    current = ds.to_table(columns=["image_id", "source_uri", "etag", "label", "caption", "error"])
    listed = objects.select(current.schema.names)
    wanted, gone = difference(_with_refusals_only(current), listed, "image_id")
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


def _with_refusals_only(current: pa.Table) -> pa.Table:
    """Rows with the errors that the listing gave them; those that reading or decoding gave are left out."""
    refused = pc.match_substring_regex(current["error"], f"^({'|'.join(REFUSALS)})")
    errors = pc.if_else(refused, current["error"], pa.scalar(None, pa.string()))
    return current.set_column(current.schema.get_field_index("error"), "error", errors)


def _counted(errors: pa.Array | pa.ChunkedArray) -> Counter[str]:
    return Counter(reasons(errors).to_pylist())


def _rejected(current: pa.Table, except_for: set[str]) -> Counter[str]:
    """How many rows that stay as they are were rejected, by reason."""
    rejected = current.filter(pc.is_valid(current["error"]))
    stays = pc.invert(pc.is_in(rejected["image_id"], pa.array(list(except_for), pa.string())))
    return _counted(rejected["error"].filter(stays))


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
