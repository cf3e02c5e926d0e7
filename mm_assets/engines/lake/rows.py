"""Rows of a table by key or by row id: reads, and the operation that replaces rows (a commit carries it out)."""

from collections.abc import Iterable
from dataclasses import replace

import lance
import pyarrow as pa
import pyarrow.compute as pc

# Up to so many keys are looked up one by one; more are found by a pass over the column.
MAX_KEYS_IN_FILTER = 5_000
# A pass over row ids reads no data. Over so many rows it takes as long as the look-up of one id.
ROWS_PER_ID = 500


def replace_rows(
    ds: lance.LanceDataset, key: str, drop: Iterable[str], fragments: list[lance.FragmentMetadata]
) -> lance.LanceOperation.BaseOperation | None:
    """Remove rows by key and add new fragments. Among such commits on one version, only one succeeds.

    A replaced row is a new row: it has a new row id, and every column outside the fragment is null. So nothing that
    was computed from its old bytes survives.

    A worked example of the guard, on a table with fragments 0 and 1:

        Writer A replaces "dog", which lies in fragment 1. Its operation updates fragment 1, which loses the old "dog".
        It also names fragment 0, unchanged: that is the guard. The new "dog" comes in a new fragment.
        Writer B inserts "owl" at the same version. Its operation names only the guard, and a new fragment.
        Both name fragment 0. Lance refuses whoever commits second, who prepares again on the new version.

    Args:
        ds: the table at its newest version.
        key: the primary key's column.
        drop: keys of the rows to remove.
        fragments: written, but in no version yet.

    Returns:
        The operation; None where there is no fragment to add and no row to remove.
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
    """The existing rows among `keys`, with `_rowid` and `_rowaddr`; an index on the key is used."""
    condition = is_in(key, keys) if len(keys) <= MAX_KEYS_IN_FILTER else None
    names = list(dict.fromkeys([key, *columns]))
    rows = ds.scanner(columns=names, filter=condition, with_row_id=True, with_row_address=True).to_table()
    return rows if condition else rows.filter(pc.is_in(rows[key], pa.array(keys, pa.string())))


def rows_by_id(ds: lance.LanceDataset, ids: pa.ChunkedArray, columns: Iterable[str] = ()) -> pa.Table:
    """The existing rows among the row ids, with `_rowid` and `_rowaddr`."""
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
