"""Dagster's event log against the lake's history; what an event is, is told to this module."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mm_assets.lineage.properties import RUN
from mm_assets.lineage.records import Record
from mm_assets.operations.verify.lake import DATA_VERSION, LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.commits import unfinished


@dataclass(frozen=True)
class Event:
    """A materialization as Dagster's event log has it.

    Args:
        asset: its key.
        number: of the event in the log.
        run_id: of its run; "" for one that was reported without a run.
        record_id: the record of the lake that it names.
        data_version: of the asset.
        inputs: data version by asset.
        table: that the asset writes.
        uri: where Dagster says that the table lies.
    """

    asset: str
    number: int
    run_id: str
    record_id: str | None
    data_version: str | None
    inputs: Mapping[str, str]
    table: str
    uri: str | None


class EventLog(Protocol):
    """The seam to Dagster."""

    def events(self) -> Iterable[Event]:
        """All materializations of the project's assets, oldest first."""

    def succeeded(self, run_ids: Iterable[str]) -> Mapping[str, bool]:
        """Of those runs that this instance knows, whether they came to a good end."""

    def wiped(self, asset: str) -> datetime | None:
        """Until when the events of an asset were wiped; None where they never were."""


def check_events(lake: LakeSnapshot, log: EventLog, report: Report) -> None:
    """Every event says what its record says, and every record of a run that succeeded has one event."""
    batches = list(unfinished(lake))
    runs = {record.run_id for record in lake.history.records.values()}
    # Before the events are read: of a run that has succeeded by then all are in the log.
    ends = log.succeeded(runs | {commit.properties.get(RUN, "") for commit, _ in batches})
    for commit, asset in batches:
        if ends.get(commit.properties.get(RUN, "")):
            said = f"a commit of {asset} by run {commit.properties[RUN]}, which succeeded and did not materialize it"
            report.disagree("commit", f"{commit.table}@v{commit.version}", said)
    seen: dict[str, int] = {}
    for event in log.events():
        report.looked_at["events"] += 1
        check_event(lake, event, seen, report)
    without = [record for record in lake.history.records.values() if record.id not in seen]
    wiped = {asset: log.wiped(asset) for asset in {record.asset for record in without}}
    for record in without:
        _check_missing(record, ends, wiped[record.asset], report)


def _check_missing(record: Record, ends: Mapping[str, bool], wiped: datetime | None, report: Report) -> None:
    """A record without an event; wiping takes an asset's events away, up to some moment."""
    if not ends.get(record.run_id):
        known = record.run_id in ends
        what = "whose run was cut off before the event" if known else "by another Dagster instance"
        report.named[f"materializations {what}"] += 1
    elif wiped is not None and record.at <= wiped:
        report.named["materializations whose events were wiped"] += 1
    else:
        said = f"its run {record.run_id} succeeded, and Dagster has no event of it"
        report.disagree("event", f"{record.asset} {record.data_version}", said)


def check_event(lake: LakeSnapshot, event: Event, seen: dict[str, int], report: Report) -> None:
    """One event; `seen` are the records that have an event already, which it is added to."""
    where = f"{event.asset} {event.data_version or '(no data version)'}, event {event.number}"
    if event.record_id is None:
        report.disagree("event", where, "reported by hand: it names no record of the lake")
        return
    record = lake.history.records.get(event.record_id)
    if record is None:
        _check_unknown(lake, event, where, report)
        return
    if event.record_id in seen:
        report.disagree("event", where, f"its record has an event already, {seen[event.record_id]}")
    seen.setdefault(event.record_id, event.number)
    for what, (said, recorded) in _compared(event, record).items():
        if said != recorded:
            report.disagree("event", where, f"{what}: Dagster says {said}, lineage.lance {recorded}")


def _check_unknown(lake: LakeSnapshot, event: Event, where: str, report: Report) -> None:
    """An event without a record may be of another lake: of a table that this one never had, or of a copy of it."""
    named = DATA_VERSION.fullmatch(event.data_version or "")
    if named is None or named["table"] != event.table:
        report.disagree("event", where, f"its data version is none of {event.table}.lance")
    elif f"{named['table']}:{named['id']}" not in lake.known_tables or lake.is_another_place(event.uri, event.table):
        report.named["events of other lakes"] += 1
    else:
        report.disagree("event", where, f"its record {event.record_id} is not in lineage.lance")


def _compared(event: Event, record: Record) -> dict[str, tuple[object, object]]:
    return {
        "asset": (event.asset, record.asset),
        "data version": (event.data_version, record.data_version),
        "run": (event.run_id, record.run_id),
        "inputs": (dict(event.inputs), record.read),
    }
