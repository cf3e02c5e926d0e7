"""The sensor that looks for writes to the tables from outside Dagster."""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg
from dagster import AssetKey

from mm_assets.catalog import TABLES, keys_where, table_of
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.automation.outside_writes import Finding, findings, look
from mm_assets.operations.automation.runs import unfinished_run
from mm_assets.resources import LakeResource
from mm_assets.settings import AutomationSettings

REPORTED_ONLY = keys_where(lambda row: row.result_of_past)


def build(settings: AutomationSettings, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Build `tables_written_outside`."""

    @dg.sensor(target=dg.AssetSelection.all(), minimum_interval_seconds=settings.tables_seconds, default_status=status)
    def tables_written_outside(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        """Shows writes from outside on the pages of the assets that own the table, and has these looked at again.

        A table whose owners are being materialized is left to the next look: nobody knows what that run has seen.
        """
        assert context.repository_def is not None
        keys = sorted(context.repository_def.asset_graph.materializable_asset_keys)
        tables = lake.tables()
        now = look(tables, TABLES)
        if not context.cursor:
            return _skip(f"{len(now)} tables, watched from now on", now)
        before = {table: LanceRef(**seen) for table, seen in json.loads(context.cursor).items()}
        found = findings(tables, before, now)
        if not found:
            return _skip(f"{len(now)} tables, none written from outside", now)
        busy = _busy(context.instance, keys, found)
        shown = [item for item in found if item.table not in busy]
        requests = _requests(keys, shown)
        said = "; ".join(f"{item}{busy.get(item.table, '')}" for item in found)
        context.log.info(said)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(said),
            asset_events=[event for item in shown for event in _observations(keys, item)],
            cursor=_cursor(now, {table: before.get(table) for table in busy}),
        )

    return tables_written_outside


def _skip(why: str, now: Mapping[str, LanceRef]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=_cursor(now))


def _cursor(now: Mapping[str, LanceRef], instead: Mapping[str, LanceRef | None] = MappingProxyType({})) -> str:
    """To remember what was seen; of some tables, `instead` what was seen before (None: nothing)."""
    return json.dumps({table: vars(seen) for table, seen in {**now, **instead}.items() if seen is not None})


def _owners(keys: Iterable[AssetKey], table: str) -> list[AssetKey]:
    return [key for key in keys if table_of(key.to_user_string()) == table]


def _to_run(keys: Iterable[AssetKey], finding: Finding) -> list[AssetKey]:
    """The owners of a table that can bring it back to what it should be."""
    return [key for key in _owners(keys, finding.table) if key.to_user_string() not in REPORTED_ONLY]


def _busy(instance: dg.DagsterInstance, keys: Iterable[AssetKey], found: Iterable[Finding]) -> dict[str, str]:
    """Tables of which an owner is being materialized, and by which run, in words."""
    runs = {(item.table, key): unfinished_run(instance, key) for item in found for key in _to_run(keys, item)}
    return {
        table: f": looked at again when run {run[:8]} has materialized {key.to_user_string()}"
        for (table, key), run in runs.items()
        if run is not None
    }


def _observations(keys: Iterable[AssetKey], finding: Finding) -> list[dg.AssetObservation]:
    metadata: dict[str, Any] = {
        "table": finding.table,
        "written_outside": str(finding),
        "versions": ", ".join(str(commit.version) for commit in finding.commits),
        "operations": ", ".join(commit.operation for commit in finding.commits),
        "at": ", ".join(commit.at.isoformat(timespec="seconds") for commit in finding.commits),
        "another_table_than_before": finding.replaced,
        "gone": finding.now is None,
    }
    return [
        dg.AssetObservation(key, description=str(finding), metadata=metadata) for key in _owners(keys, finding.table)
    ]


def _requests(keys: Iterable[AssetKey], found: Iterable[Finding]) -> list[dg.RunRequest]:
    """One run of all owners that can bring back what was written; it is asked for once for the same change."""
    wanted = {item: owners for item in found if (owners := _to_run(keys, item))}
    if not wanted:
        return []
    tags = {f"written_outside/{item.table}": f"v{item.now.version}" if item.now else "gone" for item in wanted}
    return [
        dg.RunRequest(
            run_key="-".join(item.change for item in wanted),
            asset_selection=[key for owners in wanted.values() for key in owners],
            tags=tags,
        )
    ]
