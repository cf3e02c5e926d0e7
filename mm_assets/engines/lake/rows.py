"""Rows of a table by key or by id: read them, and the operation that replaces them (a commit makes it happen)."""

from collections.abc import Iterable
from dataclasses import replace

import lance
import pyarrow as pa
import pyarrow.compute as pc

# So many keys are looked up one by one; more of them in a pass over the column.
MAX_KEYS_IN_FILTER = 5_000
# A pass over row ids alone reads no data: it is as fast as looking up one id where the table has so many rows for it.
ROWS_PER_ID = 500


def replace_rows(
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
    keys_by_fragment: dict[int, list[str]] = {}
    if keys:
        rows = rows_by_key(ds, key, keys)
        for address, value in zip(rows["_rowaddr"].to_pylist(), rows[key].to_pylist(), strict=True):
            keys_by_fragment.setdefault(address >> 32, []).append(value)
    return keys_by_fragment


def rows_by_key(ds: lance.LanceDataset, key: str, keys: list[str], columns: Iterable[str] = ()) -> pa.Table:
    """Rows by their keys (those that are there), with `_rowid` and `_rowaddr`; an index on the key is used."""
    condition = is_in(key, keys) if len(keys) <= MAX_KEYS_IN_FILTER else None
    names = list(dict.fromkeys([key, *columns]))
    rows = ds.scanner(columns=names, filter=condition, with_row_id=True, with_row_address=True).to_table()
    return rows if condition else rows.filter(pc.is_in(rows[key], pa.array(keys, pa.string())))


def rows_by_id(ds: lance.LanceDataset, ids: pa.ChunkedArray, columns: Iterable[str] = ()) -> pa.Table:
    """Rows by their row ids (those that are there), with `_rowid` and `_rowaddr`."""
    names = list(columns)
    one_by_one = len(ids) <= MAX_KEYS_IN_FILTER and (bool(names) or ds.count_rows() > ROWS_PER_ID * len(ids))
    condition = None
    if one_by_one:
        condition = f"_rowid in ({', '.join(map(str, ids.to_pylist()))})" if len(ids) else "false"
    rows = ds.scanner(columns=names, filter=condition, with_row_id=True, with_row_address=True).to_table()
    return rows if condition else rows.filter(pc.is_in(rows["_rowid"], ids))


def is_in(column: str, values: Iterable[str]) -> str:
    """A filter: the column is one of the strings."""
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    return f"{column} in ({', '.join(quoted)})" if quoted else "false"
