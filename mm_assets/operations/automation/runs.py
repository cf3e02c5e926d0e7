"""What Dagster is doing to an asset at the moment, and what its checks have said."""

from collections.abc import Iterable

import dagster as dg
from dagster import AssetKey

from mm_assets.steps.dagster_private import BaseAssetGraph, planned_checks, unfinished_runs
from mm_assets.steps.events import DATA_VERSION, newest_event, tags_of
from mm_assets.steps.gates import failed_check

PLANNED, DONE = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION


def unfinished_run(instance: dg.DagsterInstance, key: AssetKey) -> str | None:
    """The id of the oldest queued or running run that is to materialize an asset, and has not done so yet."""
    return next((run_id for run_id in unfinished_runs(instance) if _is_to_make(instance, run_id, key)), None)


def _is_to_make(instance: dg.DagsterInstance, run_id: str, key: AssetKey) -> bool:
    events = [entry.get_dagster_event() for entry in instance.all_logs(run_id, of_type={PLANNED, DONE})]
    of_asset = {event.event_type for event in events if event.asset_key == key}
    return of_asset == {PLANNED}


def newest_id(instance: dg.DagsterInstance, key: AssetKey) -> int:
    """The storage id of an asset's newest materialization; 0 without one."""
    done = newest_event(instance, key)
    return done.storage_id if done else 0


def failed_checks(instance: dg.DagsterInstance, keys: Iterable[AssetKey]) -> list[str]:
    """`asset: check` for every asset whose newest version failed a blocking check, so that no step may read it."""
    return [f"{key.to_user_string()}: {name}" for key in sorted(keys) if (name := _failed(instance, key))]


def _failed(instance: dg.DagsterInstance, key: AssetKey) -> str | None:
    event = newest_event(instance, key)
    failed = failed_check(instance, key.to_user_string(), tags_of(event).get(DATA_VERSION, "")) if event else None
    return failed[0] if failed else None


def unfinished_checks(instance: dg.DagsterInstance, graph: BaseAssetGraph, keys: Iterable[AssetKey]) -> list[str]:
    """`asset: check` for the blocking checks of some assets that a run is making, or is to make.

    A check whose run has ended without it holds nothing up.
    """
    blocking = [key for key in graph.get_check_keys_for_assets(set(keys)) if graph.get(key).blocking]
    waiting = {key: instance.get_run_by_id(run_id) for key, run_id in planned_checks(instance, blocking).items()}
    return sorted(
        f"{key.asset_key.to_user_string()}: {key.name}" for key, run in waiting.items() if run and not run.is_finished
    )
