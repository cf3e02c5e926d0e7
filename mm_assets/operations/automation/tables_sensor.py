"""The sensor that looks for writes to the tables from outside Dagster."""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg
from dagster import AssetKey

from mm_assets.catalog import TABLES, keys_where, table_of
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.automation.outside_writes import OutsideWrite, current_versions, find_outside_writes
from mm_assets.operations.automation.runs import unfinished_run
from mm_assets.resources import LakeResource
from mm_assets.settings import AutomationSettings

REPORTED_ONLY = keys_where(lambda row: row.result_of_past)


def build(settings: AutomationSettings, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Build `tables_written_outside`."""

    @dg.sensor(target=dg.AssetSelection.all(), minimum_interval_seconds=settings.tables_seconds, default_status=status)
    def tables_written_outside(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        """Shows writes from outside on the pages of the assets that own the table, and runs these.

        A table whose owner is being materialized is left to the next look: its run may or may not have seen the write.
        """
        assert context.repository_def is not None
        keys = sorted(context.repository_def.asset_graph.materializable_asset_keys)
        tables = lake.tables()
        now = current_versions(tables, TABLES)
        if not context.cursor:
            return _skip(f"{len(now)} tables, watched from now on", now)
        before = {table: LanceRef(**ref) for table, ref in json.loads(context.cursor).items()}
        writes = find_outside_writes(tables, before, now)
        if not writes:
            return _skip(f"{len(now)} tables, none written from outside", now)
        busy = _tables_in_use(context.instance, keys, writes)
        ready = [item for item in writes if item.table not in busy]
        requests = _requests(keys, ready)
        sentence = "; ".join(f"{item}{busy.get(item.table, '')}" for item in writes)
        context.log.info(sentence)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(sentence),
            asset_events=[event for item in ready for event in _observations(keys, item)],
            cursor=_cursor(now, {table: before.get(table) for table in busy}),
        )

    return tables_written_outside


def _skip(why: str, now: Mapping[str, LanceRef]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=_cursor(now))


def _cursor(now: Mapping[str, LanceRef], instead: Mapping[str, LanceRef | None] = MappingProxyType({})) -> str:
    """The cursor: the versions of now; for the tables in `instead`, the versions there (None: none)."""
    return json.dumps({table: vars(ref) for table, ref in {**now, **instead}.items() if ref is not None})


def _owners(keys: Iterable[AssetKey], table: str) -> list[AssetKey]:
    return [key for key in keys if table_of(key.to_user_string()) == table]


def _repairing_owners(keys: Iterable[AssetKey], write: OutsideWrite) -> list[AssetKey]:
    """The owners of a table that can bring it back to what it should be."""
    return [key for key in _owners(keys, write.table) if key.to_user_string() not in REPORTED_ONLY]


def _tables_in_use(
    instance: dg.DagsterInstance, keys: Iterable[AssetKey], writes: Iterable[OutsideWrite]
) -> dict[str, str]:
    """Tables with an owner that is being materialized, each with a sentence that names the run."""
    runs = {
        (item.table, key): unfinished_run(instance, key) for item in writes for key in _repairing_owners(keys, item)
    }
    return {
        table: f": looked at again when run {run[:8]} has materialized {key.to_user_string()}"
        for (table, key), run in runs.items()
        if run is not None
    }


def _observations(keys: Iterable[AssetKey], write: OutsideWrite) -> list[dg.AssetObservation]:
    metadata: dict[str, Any] = {
        "table": write.table,
        "written_outside": str(write),
        "versions": ", ".join(str(commit.version) for commit in write.commits),
        "operations": ", ".join(commit.operation for commit in write.commits),
        "at": ", ".join(commit.at.isoformat(timespec="seconds") for commit in write.commits),
        "another_table_than_before": write.replaced,
        "gone": write.now is None,
    }
    return [dg.AssetObservation(key, description=str(write), metadata=metadata) for key in _owners(keys, write.table)]


def _requests(keys: Iterable[AssetKey], writes: Iterable[OutsideWrite]) -> list[dg.RunRequest]:
    """One run of all owners that can bring back what was written; it is asked for once for the same change."""
    owners_by_write = {item: owners for item in writes if (owners := _repairing_owners(keys, item))}
    if not owners_by_write:
        return []
    tags = {f"written_outside/{item.table}": f"v{item.now.version}" if item.now else "gone" for item in owners_by_write}
    return [
        dg.RunRequest(
            run_key="-".join(item.change for item in owners_by_write),
            asset_selection=[key for owners in owners_by_write.values() for key in owners],
            tags=tags,
        )
    ]
