"""What Dagster is doing to an asset at the moment."""

import dagster as dg
from dagster import AssetKey


def unfinished_run(instance: dg.DagsterInstance, key: AssetKey) -> str | None:
    """The id of the queued or running run that is to materialize an asset, and has not done so yet."""
    planned = instance.event_log_storage.get_latest_planned_materialization_info(key)
    run = instance.get_run_by_id(planned.run_id) if planned else None
    if run is None or run.is_finished:
        return None
    done = instance.fetch_materializations(key, limit=1).records
    return None if done and done[0].run_id == run.run_id else run.run_id


def newest_event(instance: dg.DagsterInstance, key: AssetKey) -> int:
    """The storage id of an asset's newest materialization; 0 without one."""
    done = instance.fetch_materializations(key, limit=1).records
    return done[0].storage_id if done else 0
