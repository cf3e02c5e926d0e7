"""Finds the images to judge again: those that changed since the last time, and their near-duplicates."""

from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.changes import older
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.lake.untouched import untouched
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import version_of
from mm_assets.stages.curate.inputs import ASSET, GROUPS, Reads, at


@dataclass(frozen=True)
class Delta:
    """What changed since the last time.

    Args:
        rows: row ids of the images to judge again, rising.
        removed: ids of the images whose row was removed.
    """

    rows: pa.ChunkedArray
    removed: pa.ChunkedArray


def delta(lake: Lake, reads: Reads, before: Record) -> Delta | None:
    """Compare the pinned versions with those that a materialization read.

    Rows that no commit touched after the oldest version that was read are skipped. So are rows whose cells lie in the
    same files. Of the others, the columns that are read are compared.

    Returns:
        None where they cannot be compared: the materialization read other assets, or its versions expired.
    """
    past = _past(lake, reads, before)
    if past is None:
        return None
    now = {asset: lake.open_at(ref) for asset, ref in reads.refs.items()}
    ids, past_ids = _ids(now[ASSET]), _ids(past[ASSET])
    since = min(ds.version for ds in past.values())
    newest = max(now.values(), key=lambda ds: ds.version)
    new, removed = np.setdiff1d(ids, past_ids), np.setdiff1d(past_ids, ids)
    settled = _ids(newest, f"_row_last_updated_at_version <= {since}")
    maybe = np.setdiff1d(np.setdiff1d(ids, settled), new)
    changed = np.concatenate([new, _changed(past, now, reads, maybe)])
    groups = pa.chunked_array(
        [
            *_groups(now[GROUPS], changed).chunks,
            *_groups(past[GROUPS], np.concatenate([changed, removed])).chunks,
        ],
        pa.string(),
    ).drop_null()
    members = np.intersect1d(_members(now[GROUPS], groups), ids)
    lost = at(past[ASSET], _column(removed), ["image_id"])["image_id"]
    return Delta(_column(np.union1d(changed, members)), lost)


def _past(lake: Lake, reads: Reads, before: Record) -> dict[str, lance.LanceDataset] | None:
    """The versions that a materialization read, by asset; None where one is of another table, or expired."""
    read = before.read
    versions = {}
    for asset, ref in reads.refs.items():
        data_version = read.get(asset, "")
        ds = (
            older(lake, ref, version_of(data_version))
            if data_version.rpartition("@")[0] == str(ref).rpartition("@")[0]
            else None
        )
        if ds is None:
            return None
        versions[asset] = ds
    return versions


def _ids(ds: lance.LanceDataset, condition: str | None = None) -> np.ndarray:
    return ds.scanner(columns=[], filter=condition, with_row_id=True).to_table()["_rowid"].to_numpy()


def _column(ids: np.ndarray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(ids, pa.uint64())])


def _changed(
    past: dict[str, lance.LanceDataset], now: dict[str, lance.LanceDataset], reads: Reads, ids: np.ndarray
) -> np.ndarray:
    """Row ids with other values than before; columns are compared one by one, to hold little in memory."""
    changed = [np.array([], dtype=np.uint64)]
    for asset, names in reads.columns.items():
        if len(ids) and past[asset].version != now[asset].version:
            maybe = np.setdiff1d(ids, untouched(past[asset], now[asset], names))
            changed += [maybe[_unlike(past[asset], now[asset], name, maybe)] for name in names if len(maybe)]
    return np.unique(np.concatenate(changed))


def _unlike(past: lance.LanceDataset, now: lance.LanceDataset, column: str, ids: np.ndarray) -> np.ndarray:
    left, right = (at(ds, _column(ids), [column])[column] for ds in (past, now))
    equal = pc.fill_null(pc.equal(left, right), False)
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return ~pc.or_(equal, both_null).to_numpy()


def _groups(ds: lance.LanceDataset, ids: np.ndarray) -> pa.ChunkedArray:
    return at(ds, _column(ids), ["group_id"])["group_id"]


def _members(ds: lance.LanceDataset, groups: pa.ChunkedArray) -> np.ndarray:
    if not len(groups):
        return np.array([], dtype=np.uint64)
    rows = ds.scanner(columns=["group_id"], with_row_id=True).to_table()
    return rows["_rowid"].filter(pc.is_in(rows["group_id"], groups)).to_numpy()
