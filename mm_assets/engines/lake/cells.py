"""Columns and cells of a table: the operations that add columns and write cells, and the commit of computed cells."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import rows_by_id
from mm_assets.engines.lake.tables import Lake

# Fragments whose cells are written at the same time: a bucket answers after tens of milliseconds.
WRITERS = 8


def add_columns(ds: lance.LanceDataset, fields: Iterable[pa.Field]) -> lance.LanceOperation.BaseOperation | None:
    """Add the missing columns, all null; None where none is missing.

    The operation is a Merge, because a commit of Lance's own `add_columns` carries no properties.
    """
    new = [field for field in fields if field.name not in ds.schema.names]
    if not new:
        return None
    schema = pa.schema([*ds.schema, *new], metadata=ds.schema.metadata)
    return lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], schema)


def write_cells(ds: lance.LanceDataset, cells: pa.Table) -> lance.LanceOperation.BaseOperation | None:
    """Write cells by `_rowid` into the fragments that hold those rows; other columns and rows are not touched.

    Args:
        ds: the table, at its newest version.
        cells: `_rowid` (uint64) and the columns to write. Cells of rows that were removed are skipped.
    """
    rows = rows_by_id(ds, cells["_rowid"])
    return _write_cells(ds, _in_order_of(rows, cells), fragments_of(rows))


def fragments_of(rows: pa.Table) -> np.ndarray:
    """Shape (rows,), int64: the fragment that holds each row, by `_rowaddr`."""
    return (rows["_rowaddr"].to_numpy() >> np.uint64(32)).astype(np.int64)


def _in_order_of(rows: pa.Table, cells: pa.Table) -> pa.Table:
    return cells.take(pc.index_in(rows["_rowid"], cells["_rowid"].combine_chunks()))


def _write_cells(
    ds: lance.LanceDataset, cells: pa.Table, fragment_ids: np.ndarray
) -> lance.LanceOperation.BaseOperation | None:
    """Write cells of existing rows; `fragment_ids[i]` is the fragment of row i of `cells`."""
    if not cells.num_rows:
        return None

    def write(fragment_id: int) -> tuple[lance.FragmentMetadata, list[int], Any]:
        own = cells.filter(pa.array(fragment_ids == fragment_id))
        return ds.get_fragment(fragment_id).update_columns(own, left_on="_rowid", with_offsets=True)

    touched = np.unique(fragment_ids).tolist()
    with ThreadPoolExecutor(min(len(touched), WRITERS)) as pool:
        written = list(pool.map(write, touched))
    return lance.LanceOperation.Update(
        updated_fragments=[metadata for metadata, _, _ in written],
        fields_modified=written[0][1],
        update_mode="rewrite_columns",
        updated_fragment_offsets={key: offsets for key, (_, _, offsets) in zip(touched, written, strict=True)},
    )


def commit_cells(tables: Lake, table: str, cells: pa.Table, properties: Mapping[str, str]) -> lance.LanceDataset | None:
    """Write cells into the rows that still hold the bytes that they were computed from.

    Args:
        tables: the lake.
        table: a table of images.
        cells: `_rowid`, `sha256` of the bytes, and the columns to write.
        properties: of the commit.

    Returns:
        The table at the new version; None where no such row is left.
    """

    return commit(tables, table, lambda ds: write_unless_replaced(ds, cells), properties)


def write_unless_replaced(ds: lance.LanceDataset, cells: pa.Table) -> lance.LanceOperation.BaseOperation | None:
    """The operation of `commit_cells`, which skips rows whose bytes were replaced."""
    now = rows_by_id(ds, cells["_rowid"], ["sha256"])
    cells = _in_order_of(now, cells)
    same = pc.fill_null(pc.equal(now["sha256"], cells["sha256"]), False)
    return _write_cells(ds, cells.filter(same).drop_columns(["sha256"]), fragments_of(now.filter(same)))
