"""Near-duplicate groups as columns of the image table."""

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lance_commits import add_columns, commit, commit_cells
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.ingest.tables import IMAGES
from mm_assets.lineage.refs import Final, Step
from mm_assets.score.duplicates import GROUPING_REVISION, components, group_names

NEAR_DUPLICATES = "scores/near_duplicates"

GROUP_FIELDS = [
    pa.field("group_id", pa.string()),
    pa.field("first_group_id", pa.string()),
    pa.field("near_duplicates_rev", pa.string()),
]


def group_duplicates(step: Step, tables: LakeTables, max_distance: int) -> Final:
    """Give every image its near-duplicate group; only rows whose group changed are written."""
    revision = f"{GROUPING_REVISION}-{max_distance}"
    commit(tables, IMAGES, lambda ds: add_columns(ds, GROUP_FIELDS), step.properties([NEAR_DUPLICATES], 0))
    head = tables.open(IMAGES)
    hashes = tables.open_at(step.ref("scores/phash"))
    rows = hashes.scanner(
        columns=["image_id", "sha256", "phash"], filter="phash is not null", with_row_id=True
    ).to_table()
    rows = rows.sort_by("_rowid")  # row ids rise with age
    before = _groups_before(head, rows)
    roots = components(rows["phash"].to_numpy(), max_distance)
    groups = group_names(rows["image_id"].to_pylist(), roots, before["group_id"].to_pylist())
    first = [old or new for old, new in zip(before["first_group_id"].to_pylist(), groups, strict=True)]
    cells = pa.table(
        {
            "_rowid": rows["_rowid"],
            "sha256": rows["sha256"],
            "group_id": pa.array(groups, pa.string()),
            "first_group_id": pa.array(first, pa.string()),
            "near_duplicates_rev": pa.array([revision] * rows.num_rows, pa.string()),
        }
    )
    changed = np.zeros(rows.num_rows, dtype=bool)
    for name in ("group_id", "first_group_id", "near_duplicates_rev"):
        changed |= ~pc.fill_null(pc.equal(cells[name], before[name]), False).to_numpy()
    computed = int(changed.sum())
    final = Final({"rows": rows.num_rows, "rows_computed": computed, "groups": len(set(groups))})
    if not computed:
        return final
    properties = step.properties([NEAR_DUPLICATES], 1, {NEAR_DUPLICATES: final})
    commit_cells(tables, IMAGES, cells.filter(pa.array(changed)), properties)
    return final


def _groups_before(head: lance.LanceDataset, rows: pa.Table) -> pa.Table:
    names = [field.name for field in GROUP_FIELDS]
    table = head.scanner(columns=names, with_row_id=True).to_table()
    return table.take(pc.index_in(rows["_rowid"], table["_rowid"]))
