"""Dagster's event log as plain values; no other module of this folder but `ops` knows Dagster."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import dagster as dg

from mm_assets.catalog import owned_table, table_of
from mm_assets.operations.verify.rules.events import Event
from mm_assets.steps.events import DATA_VERSION, INPUT_VERSION, newest_event, tags_of
from mm_assets.steps.pins import RECORD

# Events that are in memory at once, each with its pictures; runs that are asked for at once.
PAGE, RUNS = 50, 500
# Dagster's own name for where an asset lies.
URI = "dagster/uri"


class DagsterLog:
    """This project's materializations in the event log of one instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def events(self) -> Iterator[Event]:
        """See `EventLog`."""
        for key in sorted(self._instance.get_asset_keys()):
            if owned_table(key.to_user_string()):
                yield from self._of(key)

    def _of(self, key: dg.AssetKey) -> Iterator[Event]:
        cursor: str | None = None
        while True:
            page = self._instance.fetch_materializations(key, limit=PAGE, cursor=cursor, ascending=True)
            yield from (_event(key, record) for record in page.records)
            if not page.has_more:
                return
            cursor = page.cursor

    def succeeded(self, run_ids: Iterable[str]) -> Mapping[str, bool]:
        """See `EventLog`."""
        ids = sorted(run_ids)
        success_by_run: dict[str, bool] = {}
        for start in range(0, len(ids), RUNS):
            runs = self._instance.get_runs(filters=dg.RunsFilter(run_ids=ids[start : start + RUNS]))
            success_by_run |= {run.run_id: run.status == dg.DagsterRunStatus.SUCCESS for run in runs}
        return success_by_run

    def wiped(self, asset: str) -> datetime | None:
        """See `EventLog`. An instance has no record of an asset that was wiped and not materialized since."""
        records = self._instance.get_asset_records([dg.AssetKey.from_user_string(asset)])
        if not records:
            return datetime.max.replace(tzinfo=UTC)
        details = records[0].asset_entry.asset_details
        moment = details.last_wipe_timestamp if details else None
        return datetime.fromtimestamp(moment, UTC) if moment else None


def newest(instance: dg.DagsterInstance, key: dg.AssetKey) -> Event | None:
    """The newest materialization of an asset."""
    record = newest_event(instance, key)
    return _event(key, record) if record else None


def _event(key: dg.AssetKey, record: dg.EventLogRecord) -> Event:
    materialization = record.asset_materialization
    assert materialization is not None
    tags = tags_of(record)
    record_id, uri = materialization.metadata.get(RECORD), materialization.metadata.get(URI)
    return Event(
        asset=key.to_user_string(),
        number=record.storage_id,
        run_id=record.run_id,
        record_id=None if record_id is None else str(record_id.value),
        data_version=tags.get(DATA_VERSION),
        table=table_of(key.to_user_string()),
        uri=None if uri is None else str(uri.value),
        inputs={name.removeprefix(INPUT_VERSION): tags[name] for name in tags if name.startswith(INPUT_VERSION)},
    )
