"""Reads what the dataset is made from: columns of the image table, each asset's at its own pin."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import IMAGE_TABLE, NEAR_DUPLICATES
from mm_assets.engines.lake.rows import rows_by_id
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext
from mm_assets.stages.curate.bounds import Bound

if TYPE_CHECKING:
    import lance

ASSET = IMAGE_TABLE.key
GROUPS = NEAR_DUPLICATES.key
IMAGE_COLUMNS = ["image_id", "sha256", "width", "height", "label", "caption", "error"]
GROUP_COLUMNS = ["group_id", "first_group_id"]


@dataclass(frozen=True)
class Reads:
    """The pinned version and the columns to read, by asset; all assets write the same table."""

    refs: Mapping[str, LanceRef]
    columns: Mapping[str, list[str]]


def reads_of(step: StepContext, bounds: Sequence[Bound]) -> Reads:
    """The columns that the bounds, the groups and the examples need, at the step's pins."""
    columns: dict[str, list[str]] = defaultdict(list, {ASSET: IMAGE_COLUMNS, GROUPS: GROUP_COLUMNS})
    for bound in bounds:
        columns[bound.scorer.asset] += [bound.column, bound.scorer.rev_column, bound.scorer.error_column]
    unique = {asset: list(dict.fromkeys(names)) for asset, names in columns.items()}
    return Reads({asset: step.ref(asset) for asset in unique}, unique)


def joined(lake: Lake, reads: Reads, ids: pa.ChunkedArray | None = None) -> pa.Table:
    """The pinned images, oldest first, with the scores of the same bytes.

    Args:
        lake: read.
        reads: versions and columns.
        ids: row ids of the images; None: all images.
    """
    images = lake.open_at(reads.refs[ASSET])
    rows = _rows(images, ids, IMAGE_COLUMNS).sort_by("_rowid")
    for asset, names in reads.columns.items():
        if asset != ASSET:
            scored = at(lake.open_at(reads.refs[asset]), rows["_rowid"], names, rows["sha256"], all_rows=ids is None)
            for name in names:
                rows = rows.append_column(name, scored[name])
    return rows


def at(
    ds: "lance.LanceDataset",
    ids: pa.ChunkedArray,
    columns: list[str],
    sha256: pa.ChunkedArray | None = None,
    *,
    all_rows: bool = False,
) -> pa.Table:
    """Columns of rows, in the order of the ids; null where there is no such row.

    Args:
        ds: a version of the image table.
        ids: row ids.
        columns: to read.
        sha256: by row: rows of other bytes count as missing.
        all_rows: whether `ids` are (nearly) all rows; the table is then scanned, and nothing looked up.
    """
    names = list(dict.fromkeys([*columns, *(["sha256"] if sha256 is not None else [])]))
    rows = _rows(ds, None if all_rows else ids, names)
    places = pc.index_in(ids, rows["_rowid"])
    if sha256 is not None:
        same = pc.equal(rows["sha256"].take(places), sha256)
        places = pc.if_else(pc.fill_null(same, False), places, pa.scalar(None, pa.int32()))
    return rows.select(columns).take(places)


def _rows(ds: "lance.LanceDataset", ids: pa.ChunkedArray | None, columns: list[str]) -> pa.Table:
    if ids is None:
        return ds.scanner(columns=columns, with_row_id=True).to_table()
    if not len(ids):
        return ds.scanner(columns=columns, with_row_id=True, limit=0).to_table()
    return rows_by_id(ds, ids, columns).select([*columns, "_rowid"])


def in_groups(rows: pa.Table, most: int) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Put the members of each near-duplicate group side by side, and cut the rows into pieces of whole groups.

    Args:
        rows: with `group_id`; a row without one is a group of its own.
        most: rows of a piece; a piece is longer where its last group is.

    Returns:
        The rows, and the first row and the number of rows of each piece. Members keep their order.
    """
    codes = rows["group_id"].combine_chunks().dictionary_encode().indices
    group = codes.fill_null(-1).to_numpy(zero_copy_only=False)
    places = np.arange(rows.num_rows)
    first = np.full(group.max(initial=0) + 1, rows.num_rows)
    np.minimum.at(first, group[group >= 0], places[group >= 0])
    key = np.where(group >= 0, first[group], places)
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    pieces, begin = [], 0
    while begin < rows.num_rows:
        later = int(np.searchsorted(starts, begin + most))
        end = int(starts[later]) if later < len(starts) else rows.num_rows
        pieces.append((begin, end - begin))
        begin = end
    return rows.take(pa.array(order)), pieces
