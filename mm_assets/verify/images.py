"""The bytes of images against their digests: everything is read."""

import hashlib
from collections.abc import Callable

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.batches import cut
from mm_assets.engines.progress import Progress
from mm_assets.ingest.tables import IMAGES
from mm_assets.lineage.refs import LanceRef
from mm_assets.verify.lake import Lake
from mm_assets.verify.report import Report

# What is in memory at once.
BATCH_ROWS, BATCH_BYTES = 1_000, 64 * 2**20
IMAGE = "image"


def check_images(lake: Lake, report: Report, log: Callable[[str], None]) -> None:
    """Hash the bytes of every image of every version that is promised; those that versions share once."""
    if IMAGES not in lake.heads:
        return
    refs = {ref for _, ref in lake.promised if ref.table == IMAGES and ref.version in lake.commits[IMAGES]}
    known = pa.array([], pa.uint64())
    for ref in sorted(refs, key=lambda ref: ref.version, reverse=True):
        with report.reading(ref):
            known = _check_version(lake, ref, known, report, log)


def _check_version(lake: Lake, ref: LanceRef, known: pa.Array, report: Report, log: Callable[[str], None]) -> pa.Array:
    """Check the rows of a version that were not looked at yet; a replaced row is another one. Gives all looked at."""
    ds = lake.tables.open_at(ref)
    columns = ["image_id", "sha256", "num_bytes"]
    rows = ds.scanner(columns=columns, filter="error is null", with_row_id=True).to_table()
    rows = rows.filter(pc.invert(pc.is_in(rows["_rowid"], known)))
    progress = Progress(f"images of {ref}", rows.num_rows, log)
    for batch in cut(rows, BATCH_ROWS, rows["num_bytes"], BATCH_BYTES):
        report.disagree_rows("image", ref, "its bytes do not have its digest", _unlike(ds, batch))
        progress.add(batch.num_rows)
    report.looked_at["images hashed"] += rows.num_rows
    return pa.concat_arrays([known, rows["_rowid"].combine_chunks()])


def _unlike(ds: lance.LanceDataset, rows: pa.Table) -> list[str]:
    blobs = ds.read_blobs(IMAGE, ids=rows["_rowid"].to_pylist())
    wanted = zip(rows["image_id"].to_pylist(), rows["sha256"].to_pylist(), blobs, strict=True)
    return [name for name, digest, (_, data) in wanted if hashlib.sha256(data).hexdigest() != digest]
