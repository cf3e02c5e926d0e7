"""The bytes of images against their digests: everything is read."""

import hashlib
from collections.abc import Callable

import lance
import numpy as np
import pyarrow as pa

from mm_assets.engines.lake.cells import fragments_of
from mm_assets.engines.workers.batches import cut
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.files import IMAGE, image_files
from mm_assets.pace import Pace
from mm_assets.stages.ingest.tables import IMAGES

# What is in memory at once.
BATCH_ROWS, BATCH_BYTES = 1_000, 64 * 2**20
# The ids of the rows whose bytes in a data file were read, by the file's path.
CheckedIds = dict[str, np.ndarray]


def check_images(lake: LakeSnapshot, report: Report, log: Callable[[str], None]) -> None:
    """Hashes every image of every version that must be readable; images that versions share are hashed once."""
    if IMAGES not in lake.heads:
        return
    refs = {ref for _, ref in lake.must_be_readable if ref.table == IMAGES and ref.version in lake.commits[IMAGES]}
    checked: CheckedIds = {}
    for ref in sorted(refs, key=lambda ref: ref.version, reverse=True):
        with report.reading(ref):
            _check_version(lake, ref, checked, report, log)


def _check_version(
    lake: LakeSnapshot, ref: LanceRef, checked: CheckedIds, report: Report, log: Callable[[str], None]
) -> None:
    """Checks the rows of a version that were not checked yet."""
    ds = lake.tables.open_at(ref)
    columns = ["image_id", "sha256", "num_bytes"]
    all_rows = ds.scanner(columns=columns, filter="error is null", with_row_id=True, with_row_address=True).to_table()
    rows = _unchecked(ds, all_rows, checked)
    progress = Pace(f"images of {ref}", rows.num_rows, log)
    for batch in cut(rows, BATCH_ROWS, rows["num_bytes"], BATCH_BYTES):
        report.disagree_rows("image", ref, "its bytes do not have its digest", _with_other_digest(ds, batch))
        progress.add(batch.num_rows)
    report.looked_at["images hashed"] += rows.num_rows


def _unchecked(ds: lance.LanceDataset, rows: pa.Table, checked: CheckedIds) -> pa.Table:
    """Rows whose bytes were not read yet. A compaction copies bytes: the same row is then in two files."""
    ids, fragments = rows["_rowid"].to_numpy(), fragments_of(rows)
    new = np.zeros(rows.num_rows, dtype=bool)
    files = image_files(ds)
    for fragment in np.unique(fragments).tolist():
        here = fragments == fragment
        path = files.get(fragment, "")
        before = checked.get(path, np.array([], dtype=ids.dtype))
        new |= here & ~np.isin(ids, before)
        checked[path] = np.union1d(before, ids[here])
    return rows.filter(pa.array(new))


def _with_other_digest(ds: lance.LanceDataset, rows: pa.Table) -> list[str]:
    blobs = ds.read_blobs(IMAGE, ids=rows["_rowid"].to_pylist())
    expected = zip(rows["image_id"].to_pylist(), rows["sha256"].to_pylist(), blobs, strict=True)
    return [name for name, digest, (_, data) in expected if hashlib.sha256(data).hexdigest() != digest]
