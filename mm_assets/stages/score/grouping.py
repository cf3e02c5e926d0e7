"""Writes near-duplicate groups as columns of the image table; only new hashes are compared with all others."""

from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.cells import add_columns, write_unless_replaced
from mm_assets.engines.lake.changes import older
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import rows_by_id
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.reuse import others_wrote, reusable_record
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score.duplicates import components, group_names, revision_of
from mm_assets.stages.score.tables import GROUP_FIELDS

NEAR_DUPLICATES = "scores/near_duplicates"

GROUP_NAMES = [field.name for field in GROUP_FIELDS]


@dataclass(frozen=True)
class _Grouped:
    """What a pass made at one version of the table: the cells to write, and the step's result."""

    version: int
    cells: pa.Table
    result: StepResult


def group_duplicates(step: StepContext, lake: Lake, max_distance: int) -> StepResult:
    """Give every image its near-duplicate group; only rows whose group changed are written.

    Hashes of the last time are not compared with each other again, except in groups that lost a member. Where another
    run writes groups at the same time, all hashes are compared again.
    """
    ref = step.ref("scores/phash")
    commit(lake, IMAGES, lambda ds: add_columns(ds, GROUP_FIELDS), step.properties([NEAR_DUPLICATES], 0))
    head = lake.open(IMAGES)
    before = reusable_record(head, step.last_record(NEAR_DUPLICATES), step.code_versions[NEAR_DUPLICATES])
    done = _regroup(lake, head, ref, before, max_distance)

    def write(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        nonlocal done
        if others_wrote(ds, NEAR_DUPLICATES, done.version, step.run_id):
            done = _regroup(lake, ds, ref, None, max_distance)
        return write_unless_replaced(ds, done.cells)

    if done.cells.num_rows:
        commit(lake, IMAGES, write, lambda: step.properties([NEAR_DUPLICATES], 1, {NEAR_DUPLICATES: done.result}))
    return done.result


def _regroup(lake: Lake, head: lance.LanceDataset, ref: LanceRef, before: Record | None, max_distance: int) -> _Grouped:
    revision = revision_of(max_distance)
    rows = _with_groups(lake.open_at(ref), head)
    hashed = rows.filter(pc.is_valid(rows["phash"]))
    settled, removed = _settled(lake, ref, before, hashed, revision)
    roots = components(hashed["phash"].to_numpy(), max_distance, settled)
    groups = group_names(hashed["image_id"], roots, hashed["group_id"])
    same = pc.and_(pc.equal(hashed["group_id"], groups), pc.equal(hashed["near_duplicates_rev"], revision))
    changed = pc.invert(pc.fill_null(same, False))
    lost = rows.filter(pc.and_(pc.is_null(rows["phash"]), pc.is_valid(rows["group_id"])))
    cells = pa.concat_tables([_cells(hashed.filter(changed), groups.filter(changed), revision), _cells(lost)])
    metadata = {
        "rows": hashed.num_rows,
        "rows_considered": hashed.num_rows,
        "rows_computed": pc.sum(changed).as_py() or 0,
        "rows_reused": hashed.num_rows - (pc.sum(changed).as_py() or 0),
        "rows_failed": 0,
        "rows_removed": removed,
        "groups": len(np.unique(roots)),
    }
    return _Grouped(
        head.version,
        _with_digests(lake.open_at(ref), cells),
        StepResult(metadata, Progress({IMAGES: ref.version}, head.version)),
    )


def _with_groups(pinned: lance.LanceDataset, head: lance.LanceDataset) -> pa.Table:
    """The pinned hashes, oldest first (row ids rise with age), with the groups that their rows have now."""
    rows = _hashes(pinned, ["image_id"]).sort_by("_rowid")
    groups = head.scanner(columns=GROUP_NAMES, with_row_id=True).to_table()
    places = pc.index_in(rows["_rowid"], groups["_rowid"])
    for name in GROUP_NAMES:
        rows = rows.append_column(name, groups[name].take(places))
    return rows


def _hashes(ds: lance.LanceDataset, columns: list[str]) -> pa.Table:
    return ds.scanner(columns=["phash", *columns], with_row_id=True).to_table()


def _settled(
    lake: Lake, ref: LanceRef, before: Record | None, rows: pa.Table, revision: str
) -> tuple[np.ndarray | None, int]:
    """Which groups still hold as the last pass left them.

    Returns:
        The number of each row's group, -1 where it must be compared, shape (rows,); None where all rows must be. And
        how many images were removed.
    """
    past = older(lake, ref, before.progress.inputs.get(IMAGES)) if before else None
    if before is None or past is None:
        return None, 0
    compared = _hashes(past, [])
    compared = compared.filter(pc.is_valid(compared["phash"]))
    places = pc.index_in(rows["_rowid"], compared["_rowid"])
    same = pc.fill_null(pc.equal(compared["phash"].take(places), rows["phash"]), False)
    missing = compared.filter(pc.invert(pc.is_in(compared["_rowid"], rows["_rowid"].filter(same))))
    removed = missing.num_rows - pc.sum(pc.is_in(missing["_rowid"], rows["_rowid"])).as_py() if missing.num_rows else 0
    lost = _groups_of(lake.open_at(before.ref), missing["_rowid"])
    others = pc.any(pc.not_equal(rows["near_duplicates_rev"], revision)).as_py()
    if others or len(lost) < missing.num_rows:
        return None, removed
    whole = pc.invert(pc.is_in(rows["group_id"], lost))
    settled = pc.and_(pc.and_(same, whole), pc.is_valid(rows["group_id"]))
    codes = rows["group_id"].combine_chunks().dictionary_encode().indices
    return pc.if_else(settled.combine_chunks(), codes, -1).to_numpy(zero_copy_only=False).astype(np.int64), removed


def _groups_of(ds: lance.LanceDataset, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The groups of those rows that have one."""
    return rows_by_id(ds, ids, ["group_id"])["group_id"].drop_null() if len(ids) else pa.chunked_array([], pa.string())


def _cells(rows: pa.Table, groups: pa.Array | None = None, revision: str | None = None) -> pa.Table:
    """New cells of some rows; without `groups` their group becomes null, but the first group stays."""
    groups = pa.nulls(rows.num_rows, pa.string()) if groups is None else groups
    columns = [rows["_rowid"], groups, pc.coalesce(rows["first_group_id"], groups), pa.repeat(revision, rows.num_rows)]
    return pa.table(columns, schema=pa.schema([pa.field("_rowid", pa.uint64()), *GROUP_FIELDS]))


def _with_digests(pinned: lance.LanceDataset, cells: pa.Table) -> pa.Table:
    if not cells.num_rows:
        return cells
    rows = rows_by_id(pinned, cells["_rowid"], ["sha256"])
    return cells.append_column("sha256", rows["sha256"].take(pc.index_in(cells["_rowid"], rows["_rowid"])))
