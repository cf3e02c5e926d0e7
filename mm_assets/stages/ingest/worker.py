"""The worker of ingest: reads, decodes and hashes a piece of the listing, and writes rows that the driver commits."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa

from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.sources.source import Source
from mm_assets.engines.workers.sandbox import DecodeLimits, DecodeSandbox
from mm_assets.images import ImageError, ImageInfo
from mm_assets.reasons import reasons
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA, UPDATED_CELLS
from mm_assets.stages.ingest.tables import IMAGES

# Where none of so many listed objects of a piece can be read, the source is at fault and not the objects.
SUSPICIOUS = 16
# Objects that a worker reads at once: a bucket answers after tens of milliseconds, a decoder should not wait for it.
READ_AHEAD = 16


@dataclass(frozen=True)
class Piece:
    """The result of one worker for some objects.

    Args:
        objects: number of objects.
        keys: keys of the rows in `fragments`.
        fragments: written, but not committed yet.
        touched: cells (see `UPDATED_CELLS`) of good rows whose object has another etag and the same bytes.
        failed: number of rejected rows in `fragments`, by reason.
    """

    objects: int
    keys: list[str]
    fragments: list[lance.FragmentMetadata]
    touched: pa.Table
    failed: Counter[str]


class ImageWriter:
    """Reads objects, decodes them in a sandbox and writes their rows as fragments; runs as a Ray actor."""

    def __init__(self, lake: Lake, source: Source, limits: DecodeLimits, max_bytes: int) -> None:
        self._lake, self._source, self._max_bytes = lake, source, max_bytes
        self._sandbox = DecodeSandbox(limits)
        self._readers = ThreadPoolExecutor(READ_AHEAD)

    def __call__(self, objects: pa.Table) -> Piece:
        """Store one piece of the plan.

        Every object gets a row, or keeps the one that it has; a rejected one gets a row with its error.

        Args:
            objects: rows of the listing, with `known_rowid` and `known_sha256` of the good row that an object has
                already.
        """
        items = objects.to_pylist()
        rows = [self._row(item, data) for item, data in zip(items, self._readers.map(self._read, items), strict=True)]
        refuse_if_all_unreadable(items, rows)
        same = [_is_as_before(item, row) for item, row in zip(items, rows, strict=True)]
        touched = [
            {**row, "_rowid": item["known_rowid"]}
            for item, row, is_same in zip(items, rows, same, strict=True)
            if is_same
        ]
        new = [row for row, is_same in zip(rows, same, strict=True) if not is_same]
        failed = reasons(pa.array([row["error"] for row in new if "error" in row], pa.string()))
        return Piece(
            len(items),
            [row["image_id"] for row in new],
            self._write(new) if new else [],
            pa.Table.from_pylist(touched, schema=UPDATED_CELLS),
            Counter(failed.to_pylist()),
        )

    def _write(self, rows: list[dict[str, Any]]) -> list[lance.FragmentMetadata]:
        columns = {name: [row.get(name) for row in rows] for name in IMAGES_SCHEMA.names}
        arrays = {**columns, "image": lance.blob_array(columns["image"])}
        return write_fragments(self._lake, IMAGES, pa.table(arrays, schema=IMAGES_SCHEMA))

    def _read(self, item: dict[str, Any]) -> bytes | ImageError:
        """The bytes of an object, or what is wrong with it; any other error ends the job."""
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


def _is_as_before(item: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a good image has the same bytes as its existing row; its scores then stay."""
    return "error" not in row and row["sha256"] == item["known_sha256"]


def refuse_if_all_unreadable(items: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Refuse a piece where no listed object can be read: the source is then at fault, not the objects.

    Raises:
        RuntimeError: none of at least `SUSPICIOUS` objects can be read; the message gives the first one's reason.
    """
    errors = [row.get("error", "") for item, row in zip(items, rows, strict=True) if item["etag"] is not None]
    if len(errors) >= SUSPICIOUS and all(reason.startswith("unreadable") for reason in errors):
        raise RuntimeError(f"none of {len(errors)} objects could be read ({errors[0]}): check the source's permissions")
