"""Publishing: the tag and the lineage row that make a commit a materialization, before Dagster's event."""

from dataclasses import replace

from mm_assets.catalog import table_of
from mm_assets.engines.lake.commits import commit_writes_asset, commits_after, properties_of, tag
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.properties import RUN
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef, tag_name
from mm_assets.lineage.step import StepContext, StepResult


def publish(history: History, step: StepContext, asset: str, result: StepResult) -> Record:
    """Tag the asset's version after a job, and write its lineage row.

    Another run may have materialized the asset meanwhile. This run publishes only a version that it wrote, or that it
    read and left as it was.
    """
    lake, table = history.lake, table_of(asset)
    before = step.own[asset]
    scanned_to = lake.open(table).version
    heal(history, asset)  # publishes every final commit, this run's among them
    mine = history.of_run(asset, step.run_id)
    if mine and (before.record is None or mine[-1].id != before.record.id) and not mine[-1].reused:
        return mine[-1]
    confirmed_at = result.progress.confirmed_at
    ref = last_commit_of_run(lake, asset, step.run_id, before.last_commit, confirmed_at) or before.last_commit
    if ref is None:
        raise RuntimeError(f"{asset} has no commit in {table}: its job wrote none, and there was none before")
    # A version counts as reused also where another run wrote it meanwhile, or a killed run had finished it.
    reused = ref == (before.record and before.record.ref) or run_of(lake, ref) != step.run_id
    progress = replace(result.progress, scanned_to=scanned_to, confirmed_at=max(confirmed_at, before.scanned_to))
    record = step.record(asset, ref, replace(result, progress=progress), reused=reused)
    tag(lake.open(ref.table), tag_name(asset, ref.version), ref.version)
    history.append(record)
    return record


def last_commit_of_run(
    lake: Lake, asset: str, run_id: str, after: LanceRef | None, confirmed_at: int
) -> LanceRef | None:
    """The newest commit of an asset that a run made, or read and reused; None where there is none.

    Args:
        lake: of the table.
        asset: its name.
        run_id: of the run.
        after: an earlier commit; only later ones count.
        confirmed_at: up to this version, commits of other runs count too.
    """
    table = table_of(asset)
    commits = commits_after(lake.open(table), after.version if after else 0)
    own = [
        version
        for version, properties in commits
        if commit_writes_asset(properties, asset) and (properties.get(RUN) == run_id or version <= confirmed_at)
    ]
    return lake.ref(table, own[-1]) if own else None


def run_of(lake: Lake, ref: LanceRef) -> str | None:
    """The run that made the commit of a version."""
    return properties_of(lake.open_at(ref).read_transaction(ref.version)).get(RUN)
