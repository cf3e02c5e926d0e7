"""What makes a job's work a materialization: the tag and the lineage row, after the commit and before the event."""

from dataclasses import replace

from mm_assets.engines.lake.commits import tag
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.materializations import append, last_commit_of_run, own_commit, records, run_of
from mm_assets.lineage.records import SEEN, WALKED, Record
from mm_assets.lineage.refs import tag_name
from mm_assets.lineage.step import StepContext, StepResult


def publish(tables: Lake, step: StepContext, asset: str, table: str, final: StepResult) -> Record:
    """Tag the version that an asset is at after a job, and write its lineage row.

    Another run may have materialized the asset meanwhile: only what this run wrote, or found to be as it should be,
    is its own.
    """
    before = step.own[asset]
    walked = tables.open(table).version
    own_commit(tables, asset, table)  # publishes every final commit, this run's among them
    mine = [r for r in records(tables).values() if (r.asset, r.run_id) == (asset, step.run_id)]
    if mine and (before.record is None or mine[-1].id != before.record.id) and not mine[-1].reused:
        return mine[-1]
    seen = before.ref.version if before.ref else 0
    ref = last_commit_of_run(tables, table, asset, step.run_id, seen, final.looked_at) or before.ref
    if ref is None:
        raise RuntimeError(f"{asset} neither wrote nor found a commit of its own in {table}")
    # Also what another run wrote meanwhile, and what a run that was killed left finished, is not of this run's making.
    reused = ref == (before.record and before.record.ref) or run_of(tables, ref) != step.run_id
    marks = {**final.watermarks, WALKED: walked, SEEN: max(final.looked_at, before.seen)}
    record = step.record(asset, ref, replace(final, watermarks=marks), reused=reused)
    tag(tables.open(ref.table), tag_name(asset, ref.version), ref.version)
    append(tables, record)
    return record
