"""Every use of Dagster's private interface, in one file: an upgrade of Dagster may break it."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.log_manager import get_log_record_metadata
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

__all__ = [
    "AssetGraphView",
    "BaseAssetGraph",
    "LoggedLine",
    "logged_line",
    "newest_evaluation",
    "planned_checks",
    "unfinished_runs",
]


def newest_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The newest result of a check, even where another run of it is planned or running."""
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=set(COMPLETED))
    event = records[0].event if records else None
    return event.dagster_event.asset_check_evaluation_data if event and event.dagster_event else None


def planned_checks(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]) -> dict[dg.AssetCheckKey, str]:
    """The checks that their newest run has planned and not yet run, with the id of that run."""
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    return {key: record.run_id for key, record in latest.items() if record.status == Status.PLANNED}


def unfinished_runs(instance: dg.DagsterInstance) -> list[str]:
    """The ids of all queued and running runs, the oldest first."""
    runs = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES), ascending=True)
    return [run.run_id for run in runs]


@dataclass(frozen=True)
class LoggedLine:
    """What a logger of Dagster is given: a line of a step's log, or an event of the run."""

    step: str | None
    text: str
    event: dg.DagsterEvent | None


def logged_line(record: logging.LogRecord) -> LoggedLine:
    """The parts of a record, which Dagster keeps beside its text (see `dagster._core.log_manager`)."""
    metadata = get_log_record_metadata(record)
    return LoggedLine(metadata["step_key"], metadata["orig_message"], metadata["dagster_event"])
