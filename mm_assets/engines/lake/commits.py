"""Commits to Lance that carry properties and are made exactly once, whoever else writes the table at that moment.

A commit is prepared on the table's newest version and, where another one came first, prepared again. What Lance would
let through beside another commit and should not, it is made to refuse: every commit that puts rows in by key also names
the table's first fragment as touched (the guard), so of two that began at one version the second is sent back to look
again. docs/decisions/0016 says why it is done this way.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.commit import CommitConflictError

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import ASSETS, FENCE, MARK

# Tries of one commit, and the longest wait (seconds) before one of them.
TRIES, LONGEST_WAIT_S = 40, 1.0
# So many keys are looked up one by one; more of them in a pass over the column.
FEW = 5_000
# Fragments whose cells are written at the same time: a bucket answers after tens of milliseconds.
WRITERS = 8
# A pass over row ids alone reads no data: it is as fast as looking up one id where the table has so many rows for it.
ROWS_PER_ID = 500

Prepare = Callable[[lance.LanceDataset], lance.LanceOperation.BaseOperation | None]
# Of a commit; a function where they are known only when it is prepared.
Properties = Mapping[str, str] | Callable[[], Mapping[str, str]]


class FencedError(RefusalError):
    """Files that this step had written may have been removed as orphans before it could commit them."""


def transactions(ds: lance.LanceDataset, versions: Iterable[int]) -> Iterator[tuple[int, lance.Transaction]]:
    """The transactions of versions, in their order; removed versions are left out."""
    for number in versions:
        try:
            yield number, ds.read_transaction(number)
        except OSError as error:
            if "not found" not in str(error).lower():
                raise


def properties_of(transaction: lance.Transaction) -> dict[str, str]:
    """Properties of a transaction ({} where it carries none)."""
    return dict(transaction.transaction_properties or {})


def commits_after(ds: lance.LanceDataset, version: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Versions above `version` in rising order, with their transaction properties; removed versions are left out."""
    for number, transaction in transactions(ds, range(version + 1, ds.version + 1)):
        yield number, properties_of(transaction)


def carries(properties: Mapping[str, str], asset: str) -> bool:
    """Whether a commit holds rows or cells of an asset."""
    return asset in properties.get(ASSETS, "").split(",")


def commit(
    tables: Lake, table: str, prepare: Prepare, properties: Properties, written_at: int | None = None
) -> lance.LanceDataset | None:
    """Make one commit, exactly once.

    Args:
        tables: the lake.
        table: its name; it must exist.
        prepare: gives the operation for the table at its newest version, or None where nothing is left to do; called
            again on a newer version where another commit came first.
        properties: of the commit.
        written_at: the version at which files were begun that `prepare` did not write itself.

    Returns:
        The table at the new version; None where nothing was left to do.

    Raises:
        FencedError: the table was cleaned up since `written_at`: the files may be gone.
        OSError: others kept committing first, `TRIES` times; or the store failed.
    """
    mark = uuid.uuid4().hex
    seen = written_at
    for attempt in range(TRIES):
        ds = tables.open(table)
        if seen is not None:
            landed = _look_back(ds, seen, mark, fenced=written_at is not None)
            if landed is not None:  # the store's answer to an earlier try was lost
                return tables.open(table, landed)
        seen = ds.version
        operation = prepare(ds)
        if operation is None:
            return None
        said = properties() if callable(properties) else properties
        transaction = lance.Transaction(ds.version, operation, transaction_properties={**said, MARK: mark})
        try:
            return lance.LanceDataset.commit(ds, transaction)
        except OSError as error:
            if not is_conflict(error) or attempt == TRIES - 1:
                raise
        time.sleep(random.uniform(0, min(LONGEST_WAIT_S, 0.01 * 2**attempt)))
    raise AssertionError("unreachable")


def is_conflict(error: OSError) -> bool:
    """Whether another commit came first (Lance has a class for some of these, and words for the others)."""
    words = str(error).lower()
    return isinstance(error, CommitConflictError) or "conflict" in words or "too many concurrent writers" in words


def _look_back(ds: lance.LanceDataset, seen: int, mark: str, *, fenced: bool) -> int | None:
    """The version at which our own earlier try landed after all."""
    found = dict(commits_after(ds, seen))
    landed = [version for version, properties in found.items() if properties.get(MARK) == mark]
    if landed:
        return landed[0]
    gap = len(found) < ds.version - seen
    if fenced and (gap or any(FENCE in properties for properties in found.values())):
        raise FencedError(
            f"{ds.uri.rsplit('/', 1)[-1]} was cleaned up (maintenance) while this step wrote to it, and files that it "
            "had not yet committed may be gone: run the step again, it goes on after its last commit"
        )
    return None


def fence(tables: Lake, table: str, properties: Mapping[str, str]) -> lance.LanceDataset:
    """Make every write that was begun before now fail when it wants to commit; the content stays as it is.

    A Merge of what is there conflicts with every change of rows or files, whichever comes first. A Restore does not: it
    undoes what was committed since its look at the table.
    """

    done = commit(tables, table, unchanged, {**properties, FENCE: "true"})
    assert done is not None
    return done


def unchanged(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation:
    """The operation of a commit that changes nothing: what it says stands in its properties."""
    return lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], ds.schema)


def put_rows(
    ds: lance.LanceDataset, key: str, drop: Iterable[str], fragments: list[lance.FragmentMetadata]
) -> lance.LanceOperation.BaseOperation | None:
    """Take rows out by key and put new fragments in; of several such commits on one version only one succeeds.

    A replaced row is a new row (new row id, every column not in the fragment null), so nothing that was computed
    from its old bytes survives. None where there is nothing to put in, and no such row to take out.
    """
    here = ds.get_fragments()
    if not here:
        numbered = [replace(fragment, id=number) for number, fragment in enumerate(fragments)]
        return lance.LanceOperation.Merge(numbered, ds.schema)  # conflicts with every other change
    updated, removed = [], []
    for fragment_id, keys in _keys_by_fragment(ds, key, list(drop)).items():
        left = ds.get_fragment(fragment_id).delete(is_in(key, keys))
        if left is None:
            removed.append(fragment_id)
        else:
            updated.append(left)
    if not (fragments or updated or removed):
        return None
    guard = here[0]
    if guard.fragment_id not in {*removed, *(fragment.id for fragment in updated)}:
        updated.append(guard.metadata)
    return lance.LanceOperation.Update(
        removed_fragment_ids=removed, updated_fragments=updated, new_fragments=fragments, fields_modified=[]
    )


def _keys_by_fragment(ds: lance.LanceDataset, key: str, keys: list[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    if keys:
        rows = rows_by_key(ds, key, keys)
        for address, value in zip(rows["_rowaddr"].to_pylist(), rows[key].to_pylist(), strict=True):
            found.setdefault(address >> 32, []).append(value)
    return found


def rows_by_key(ds: lance.LanceDataset, key: str, keys: list[str], columns: Iterable[str] = ()) -> pa.Table:
    """Rows by their keys (those that are there), with `_rowid` and `_rowaddr`; an index on the key is used."""
    condition = is_in(key, keys) if len(keys) <= FEW else None
    names = list(dict.fromkeys([key, *columns]))
    rows = ds.scanner(columns=names, filter=condition, with_row_id=True, with_row_address=True).to_table()
    return rows if condition else rows.filter(pc.is_in(rows[key], pa.array(keys, pa.string())))


def rows_by_id(ds: lance.LanceDataset, ids: pa.ChunkedArray, columns: Iterable[str] = ()) -> pa.Table:
    """Rows by their row ids (those that are there), with `_rowid` and `_rowaddr`."""
    names = list(columns)
    one_by_one = len(ids) <= FEW and (bool(names) or ds.count_rows() > ROWS_PER_ID * len(ids))
    condition = None
    if one_by_one:
        condition = f"_rowid in ({', '.join(map(str, ids.to_pylist()))})" if len(ids) else "false"
    rows = ds.scanner(columns=names, filter=condition, with_row_id=True, with_row_address=True).to_table()
    return rows if condition else rows.filter(pc.is_in(rows["_rowid"], ids))


def is_in(column: str, values: Iterable[str]) -> str:
    """A filter: the column is one of the strings."""
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    return f"{column} in ({', '.join(quoted)})" if quoted else "false"


def add_columns(ds: lance.LanceDataset, fields: Iterable[pa.Field]) -> lance.LanceOperation.BaseOperation | None:
    """Add null columns, those that are missing, by a Merge, which carries properties (`add_columns` of Lance: none)."""
    new = [field for field in fields if field.name not in ds.schema.names]
    if not new:
        return None
    schema = pa.schema([*ds.schema, *new], metadata=ds.schema.metadata)
    return lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], schema)


def write_cells(ds: lance.LanceDataset, cells: pa.Table) -> lance.LanceOperation.BaseOperation | None:
    """Write cells by `_rowid` into the fragments that hold those rows; other columns and rows are not touched.

    Args:
        ds: the table, at its newest version.
        cells: `_rowid` (uint64) and the columns to write; rows that are no longer there are left out.
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
    """Write cells whose rows are there, each in the fragment of the same place."""
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
        table: of images.
        cells: `_rowid`, `sha256` (of those bytes), and the columns to write.
        properties: of the commit.

    Returns:
        The table at the new version; None where no such row is left.
    """

    return commit(tables, table, lambda ds: write_unless_replaced(ds, cells), properties)


def write_unless_replaced(ds: lance.LanceDataset, cells: pa.Table) -> lance.LanceOperation.BaseOperation | None:
    """The operation of `commit_cells`."""
    now = rows_by_id(ds, cells["_rowid"], ["sha256"])
    cells = _in_order_of(now, cells)
    same = pc.fill_null(pc.equal(now["sha256"], cells["sha256"]), False)
    return _write_cells(ds, cells.filter(same).drop_columns(["sha256"]), fragments_of(now.filter(same)))


def tag(ds: lance.LanceDataset, name: str, version: int) -> None:
    """Protect a version; doing it again changes nothing."""
    if name not in ds.tags.list():
        try:
            ds.tags.create(name, version)
        except ValueError:  # another process did it meanwhile
            if name not in ds.tags.list():
                raise
