"""Keeps the lake in shape; changes no row and no data version."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from mm_assets.catalog import writer_of
from mm_assets.resources import LakeResource
from mm_assets.settings import Settings
from mm_assets.steps.metadata import as_metadata

if TYPE_CHECKING:
    from mm_assets.operations.upkeep.job import TableReport, Upkeep

MB = 1e6
SKIPPED = "skipped: being written"


@dg.op(out=dg.Out(dg.Nothing))
def upkeep(
    context: dg.OpExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetObservation | dg.Output[None]]:
    """Compaction by bytes per file, indexes, retention of versions, and removal of what crashes left behind.

    What stays: the versions that the checkpoint in production and the newest one were made from, the last materialized
    ones of every asset (`upkeep.keep_last`), those that the next refresh begins at, tags of your own. What goes is
    recorded in lineage.lance before it goes. Runs may go on meanwhile; a table that is being written is left to the
    next time.
    """
    from mm_assets.lineage.errors import RefusalError
    from mm_assets.operations.upkeep.job import maintain

    try:
        lake.check_writable()
        done = maintain(lake.tables(), settings.upkeep, context.run_id, context.log.info)
    except RefusalError as refusal:
        raise dg.Failure(str(refusal), allow_retries=False) from None
    if not done.changed:
        context.log.info("nothing to do" if done.tables else f"the lake {lake.root} has no tables yet")
    for report in done.tables:
        shown_on = writer_of(report.table)
        if shown_on is not None:  # no asset owns the history
            yield dg.AssetObservation(dg.AssetKey.from_user_string(shown_on), metadata=_numbers(report))
    yield dg.Output(None, metadata=_metadata_of(done))


def _numbers(report: "TableReport") -> dict[str, Any]:
    """Numbers, which the UI plots over time."""
    after = report.after
    numbers = {
        "bytes_on_disk": after.bytes_on_disk,
        "raw_bytes": after.raw_bytes,
        "bytes_on_disk_per_raw_byte": after.ratio,
        "fragments": after.fragments,
        "versions": after.versions,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _metadata_of(done: "Upkeep") -> dict[str, Any]:
    """The tables side by side, and the versions that expired."""
    expired = [item for report in done.tables for item in report.expired]
    leftovers = [{"folder": item.name, "files": item.files, "bytes": item.num_bytes} for item in done.leftovers]
    rows_by_name = {
        "tables": [_row(report) for report in done.tables],
        "expired": [{"asset": item.asset, "data version": str(item.ref)} for item in expired],
        "scratch_removed": leftovers,
    }
    return {
        "nothing_to_do": not done.changed,
        **{name: as_metadata(rows) for name, rows in rows_by_name.items() if rows},
        **({"uploads_aborted": done.uploads_aborted} if done.uploads_aborted else {}),
        "bytes_on_disk_before": sum(report.before.bytes_on_disk for report in done.tables),
        "bytes_on_disk": sum(report.after.bytes_on_disk for report in done.tables),
        "seconds": round(sum(report.seconds for report in done.tables), 3),
    }


def _row(report: "TableReport") -> dict[str, Any]:
    before, after, compaction, orphans = report.before, report.after, report.compacted, report.orphans
    return {
        "table": report.table,
        "fragments": f"{before.fragments:,} → {after.fragments:,}",
        "versions": f"{before.versions:,} → {after.versions:,}",
        "MB on disk": f"{before.bytes_on_disk / MB:,.1f} → {after.bytes_on_disk / MB:,.1f}",
        "raw MB": f"{after.raw_bytes / MB:,.1f}",
        "on disk / raw": f"{before.ratio} → {after.ratio}",
        "compaction": SKIPPED
        if compaction.skipped
        else f"{compaction.removed:,} → {compaction.added:,}"
        if compaction.removed
        else "",
        "indexes": "; ".join(report.indexes),
        "expired": len(report.expired),
        "orphans removed": SKIPPED if orphans is None else f"{orphans.files:,} ({orphans.num_bytes / MB:,.1f} MB)",
        "seconds": round(report.seconds, 3),
    }


@dg.job(
    name="maintenance",
    description="Put small files together, keep indexes up to date, expire versions that nothing needs, and remove "
    "what crashes left behind; changes no row and no data version.",
)
def maintenance() -> None:
    """One op."""
    upkeep()
