"""Changes of a table: between two versions, and between its present rows and the desired ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows, rows_by_id
from mm_assets.engines.lake.schemas import as_stored
from mm_assets.engines.lake.tables import GoneError, Lake, write_fragments
from mm_assets.lineage.refs import LanceRef


@dataclass(frozen=True)
class Changes:
    """New and changed rows as they are now, and removed rows as they were; both have `_rowid`.

    A replaced row is in both tables, because the new row has a new row id.
    """

    rows: pa.Table
    removed: pa.Table


def changes_since(
    tables: Lake,
    ref: LanceRef,
    since: int | None,
    columns: Iterable[str],
    removed: Iterable[str] = (),
    *,
    created: bool = False,
) -> Changes | None:
    """Read the rows that changed between version `since` and a pinned version; the cost grows with the changes alone.

    Args:
        tables: the lake.
        ref: the pinned version.
        since: an older version of the same table, or None.
        columns: to read from new and changed rows.
        removed: columns to read from removed rows.
        created: read new rows only, and skip rows whose cells changed.

    Returns:
        The changes. None where they cannot be told: `since` is None, or maintenance removed that version.
    """
    before = older(tables, ref, since)
    if before is None:
        return None
    now = tables.open_at(ref)
    condition = f"_row_{'created' if created else 'last_updated'}_at_version > {before.version}"
    rows = now.scanner(columns=list(columns), filter=condition, with_row_id=True).to_table()
    deleted = now.delta(begin_version=before.version, end_version=now.version).get_deleted_row_ids().read_all()
    ids = deleted.column(0).combine_chunks()
    names = list(removed)
    return Changes(rows, _rows_of(before, ids, names))


def older(tables: Lake, ref: LanceRef, since: int | None) -> lance.LanceDataset | None:
    """An older version of a pinned table; None where `since` is no older version, or maintenance removed it."""
    if since is None or since > ref.version:
        return None
    try:
        return tables.open_at(LanceRef(ref.table, ref.table_id, since))
    except GoneError:
        return None


def _rows_of(before: lance.LanceDataset, ids: pa.Array, columns: list[str]) -> pa.Table:
    rows = rows_by_id(before, pa.chunked_array([ids.cast(pa.uint64())]), columns) if len(ids) else None
    if rows is None:
        schema = pa.schema([*(before.schema.field(name) for name in columns), pa.field("_rowid", pa.uint64())])
        return schema.empty_table()
    return rows.select([*columns, "_rowid"])


def difference(current: pa.Table, desired: pa.Table, key: str) -> tuple[list[str], list[str]]:
    """Keys that `desired` adds or changes, and keys that it no longer has.

    A key that stands twice in `current` (an outside writer appended it) counts as changed, so that one row stays.
    """
    positions = pc.index_in(desired[key], current[key])
    existing = desired.filter(positions.is_valid())
    before = current.take(positions.drop_null())
    changed = pc.is_in(existing[key], _repeated(current[key])).to_numpy()
    for name in desired.schema.names:
        changed |= _differs(existing[name], before[name])
    new = desired.filter(positions.is_null())[key].to_pylist()
    removed = current.filter(pc.invert(pc.is_in(current[key], desired[key])))[key].to_pylist()
    return new + existing.filter(pa.array(changed))[key].to_pylist(), removed


def _repeated(keys: pa.ChunkedArray) -> pa.Array:
    counts = keys.value_counts()
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _differs(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray:
    return _unlike(left.combine_chunks(), right.combine_chunks())


def _unlike(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Which rows differ, shape (n,). Arrow compares no lists and structs, so their items and fields are compared."""
    if pa.types.is_list(left.type):
        return _unlike_lists(left, right)
    one_null = pc.xor(pc.is_null(left), pc.is_null(right)).to_numpy(zero_copy_only=False)
    if pa.types.is_struct(left.type):
        fields = zip(left.flatten(), right.flatten(), strict=True)
        return np.logical_or.reduce([one_null, *(_unlike(*pair) for pair in fields)])
    return one_null | pc.fill_null(pc.not_equal(left, right), False).to_numpy(zero_copy_only=False)


def _unlike_lists(left: pa.ListArray, right: pa.ListArray) -> np.ndarray:
    lengths = [pc.fill_null(pc.list_value_length(array), -1).to_numpy() for array in (left, right)]
    differs = lengths[0] != lengths[1]
    same = np.flatnonzero(~differs)
    items = _unlike(left.take(pa.array(same)).flatten(), right.take(pa.array(same)).flatten())
    differs[np.repeat(same, lengths[0][same].clip(0))[items]] = True
    return differs


@dataclass
class Synced:
    """How many rows were written (new and changed) and removed, and the version that was compared (`looked_at`)."""

    written: int = 0
    removed: int = 0
    looked_at: int = field(default=0, compare=False)


def sync_rows(
    tables: Lake, table: str, key: str, desired: pa.Table, properties: Callable[[Synced], Mapping[str, str]]
) -> Synced:
    """Make a table's rows equal to `desired` by one commit that writes only the difference; none where nothing differs.

    Args:
        tables: the lake.
        table: its name.
        key: the primary key's column.
        desired: the rows.
        properties: gives the commit's properties, once its row counts are known.
    """
    done = Synced()

    def put(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        current = ds.to_table(columns=desired.schema.names)
        written, removed = difference(current, desired, key)
        done.written, done.removed, done.looked_at = len(written), len(removed), ds.version
        if not written and not removed:
            return None
        keys = pa.array(written, pa.string())
        rows = desired.filter(pc.is_in(desired[key], keys))
        fragments = write_fragments(tables, table, as_stored(rows, ds)) if written else []
        changed = current[key].filter(pc.is_in(current[key], keys)).to_pylist()
        return replace_rows(ds, key, removed + changed, fragments)

    commit(tables, table, put, lambda: properties(done))
    return done
