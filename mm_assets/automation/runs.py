"""What Dagster is doing to an asset at the moment."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg
from dagster import AssetKey
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from mm_assets.lineage.events import newest_event

if TYPE_CHECKING:
    from mm_assets.automation.freshness import Graph


def unfinished_run(instance: dg.DagsterInstance, key: AssetKey) -> str | None:
    """The id of the queued or running run that is to materialize an asset, and has not done so yet."""
    planned = instance.event_log_storage.get_latest_planned_materialization_info(key)
    run = instance.get_run_by_id(planned.run_id) if planned else None
    if run is None or run.is_finished:
        return None
    done = newest_event(instance, key)
    return None if done and done.run_id == run.run_id else run.run_id


def newest_id(instance: dg.DagsterInstance, key: AssetKey) -> int:
    """The storage id of an asset's newest materialization; 0 without one."""
    done = newest_event(instance, key)
    return done.storage_id if done else 0


def failed_checks(instance: dg.DagsterInstance, graph: "Graph", keys: Iterable[AssetKey]) -> list[str]:
    """Names of the blocking checks of some assets that failed when they last ran."""
    blocking = [key for key in graph.get_check_keys_for_assets(set(keys)) if graph.get(key).blocking]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(blocking)
    return sorted(key.name for key, record in latest.items() if record.status == AssetCheckExecutionRecordStatus.FAILED)
