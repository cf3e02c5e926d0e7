"""Chooses rows to show, and loads their pictures; the same rows always give the same choice."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from mm_assets.images import ImageError, decode

if TYPE_CHECKING:
    import lance

# Previews are drawn in Dagster's own process; a larger picture is not worth its memory.
MAX_PIXELS = 64_000_000
THUMBNAIL = (320, 320)
NO_NAME = "(none)"


def largest(column: pa.ChunkedArray, most: int) -> tuple[list[tuple[str, int]], int]:
    """The most frequent values with their counts, and how many other values there are.

    Where more than `most` differ, one fewer is named and the last entry is the sum of the others.
    """
    occurrences = pc.value_counts(pc.fill_null(column, NO_NAME))
    counts = pa.table({"value": occurrences.field("values"), "count": occurrences.field("counts")})
    counts = counts.sort_by([("count", "descending"), ("value", "ascending")])
    named = counts if counts.num_rows <= most else counts.slice(0, most - 1)
    top = [(row["value"], row["count"]) for row in named.to_pylist()]
    others = counts.num_rows - named.num_rows
    return [*top, (f"{others:,} others", len(column) - sum(count for _, count in top))] if others else top, others


def counts_of(column: pa.ChunkedArray, names: Sequence[str]) -> list[int]:
    """How often each of some values occurs."""
    column = pc.fill_null(column, NO_NAME)
    occurrences = pc.value_counts(column.filter(pc.is_in(column, pa.array(names, pa.string()))))
    counts = {row["values"]: row["counts"] for row in occurrences.to_pylist()}
    return [counts.get(name, 0) for name in names]


def spread(column: pa.ChunkedArray, most: int) -> np.ndarray:
    """Positions of at most `most` rows: shared among the values, the most frequent first, evenly within each value."""
    if not len(column) or most < 1:
        return np.array([], dtype=np.int64)
    codes = np.unique(_codes(column), return_inverse=True)[1]
    counts = np.bincount(codes)
    order = np.argsort(-counts, kind="stable")[:most]
    shares = np.zeros(len(order), dtype=int)
    while shares.sum() < min(most, counts[order].sum()):
        for place, code in enumerate(order):
            shares[place] += shares.sum() < most and shares[place] < counts[code]
    return np.concatenate([_evenly(codes == code, share) for code, share in zip(order, shares, strict=True)])


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    return np.asarray(encoded.indices)


def _evenly(among: np.ndarray, count: int) -> np.ndarray:
    places = np.flatnonzero(among)
    return places[np.arange(count) * len(places) // max(count, 1)]


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A numeric column as floats, null as NaN."""
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def extremes(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the lowest values, rising, and of the highest values, falling; no position is in both."""
    finite = np.flatnonzero(np.isfinite(values))
    order = finite[np.argsort(values[finite], kind="stable")]
    low = order[:most]
    high = order[max(len(low), len(order) - most) :][::-1]
    return low, high


def take(ds: "lance.LanceDataset", row_ids: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Some columns of some rows, in the order of the row ids."""
    if not row_ids:
        return []
    ids = ", ".join(map(str, row_ids))
    table = ds.scanner(columns=list(columns), filter=f"_rowid in ({ids})", with_row_id=True).to_table()
    rows_by_id = {row.pop("_rowid"): row for row in table.to_pylist()}
    return [rows_by_id[row_id] for row_id in row_ids]


def pictures(ds: "lance.LanceDataset", row_ids: Sequence[int]) -> list[Image.Image | None]:
    """Small pictures of some rows of `images.lance`, in their order; None where a row has no usable image."""
    return [_small(ds.read_blobs("image", ids=[row_id])[0][1]) for row_id in row_ids]


def pictures_of(ds: "lance.LanceDataset", image_ids: Sequence[str]) -> list[Image.Image | None]:
    """Small pictures by image id; None also where the table has no such image."""
    images = ds.scanner(columns=["image_id"], with_row_id=True).to_table()
    places = pc.index_in(pa.array(image_ids, pa.string()), images["image_id"])
    row_ids = images["_rowid"].take(places).to_pylist()
    return [None if row_id is None else pictures(ds, [row_id])[0] for row_id in row_ids]


def share(value: float | None) -> str:
    """A confidence as text; "" for None."""
    return "" if value is None else f"{value:.2f}"


def _small(data: bytes | None) -> Image.Image | None:
    try:
        image, _ = decode(data or b"", MAX_PIXELS)
    except ImageError:
        return None
    image.thumbnail(THUMBNAIL)
    return image
