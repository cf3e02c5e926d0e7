"""Dagster's event log against the lake's history. Events come in as plain values."""

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
        """Whether each run succeeded; runs that this instance does not know are left out."""

    def wiped(self, asset: str) -> datetime | None:
        """The moment up to which the events of an asset were wiped; None where they never were."""


def check_events(lake: LakeSnapshot, log: EventLog, report: Report) -> None:
    """Every event says what its record says, and every record of a run that succeeded has one event."""
    batches = list(unfinished(lake))
    runs = {record.run_id for record in lake.history.records.values()}
    # Asked before the events are read: a run that has succeeded by now has all its events in the log.
    ends = log.succeeded(runs | {commit.properties.get(RUN, "") for commit, _ in batches})
    for commit, asset in batches:
        if ends.get(commit.properties.get(RUN, "")):
            sentence = (
                f"a commit of {asset} by run {commit.properties[RUN]}, which succeeded and did not materialize it"
            )
            report.disagree("commit", f"{commit.table}@v{commit.version}", sentence)
    numbers: dict[str, int] = {}
    for event in log.events():
        report.looked_at["events"] += 1
        check_event(lake, event, numbers, report)
    without = [record for record in lake.history.records.values() if record.id not in numbers]
    wiped = {asset: log.wiped(asset) for asset in {record.asset for record in without}}
    for record in without:
        _check_missing(record, ends, wiped[record.asset], report)


def _check_missing(record: Record, ends: Mapping[str, bool], wiped: datetime | None, report: Report) -> None:
    """A record without an event. It is expected for a run that was cut off, another instance, or wiped events."""
    if not ends.get(record.run_id):
        is_run_of_log = record.run_id in ends
        reason = "whose run was cut off before the event" if is_run_of_log else "by another Dagster instance"
        report.expected_leftovers[f"materializations {reason}"] += 1
    elif wiped is not None and record.at <= wiped:
        report.expected_leftovers["materializations whose events were wiped"] += 1
    else:
        sentence = f"its run {record.run_id} succeeded, and Dagster has no event of it"
        report.disagree("event", f"{record.asset} {record.data_version}", sentence)


def check_event(lake: LakeSnapshot, event: Event, numbers: dict[str, int], report: Report) -> None:
    """Checks one event. `numbers` has the event's number by record id of the events before it; this one is added."""
    where = f"{event.asset} {event.data_version or '(no data version)'}, event {event.number}"
    if event.record_id is None:
        report.disagree("event", where, "reported by hand: it names no record of the lake")
        return
    record = lake.history.records.get(event.record_id)
    if record is None:
        _check_unknown(lake, event, where, report)
        return
    if event.record_id in numbers:
        report.disagree("event", where, f"its record has an event already, {numbers[event.record_id]}")
    numbers.setdefault(event.record_id, event.number)
    for what, (in_event, recorded) in _facts_of_both(event, record).items():
        if in_event != recorded:
            report.disagree("event", where, f"{what}: Dagster says {in_event}, lineage.lance {recorded}")


def _check_unknown(lake: LakeSnapshot, event: Event, where: str, report: Report) -> None:
    """An event without a record may be of another lake: of a table that this one never had, or of a copy of it."""
    match = DATA_VERSION.fullmatch(event.data_version or "")
    prefix = f"{match['table']}:{match['id']}" if match else ""
    if match is None or match["table"] != event.table:
        report.disagree("event", where, f"its data version is none of {event.table}.lance")
    elif prefix not in lake.data_version_prefixes or lake.is_another_place(event.uri, event.table):
        report.expected_leftovers["events of other lakes"] += 1
    else:
        report.disagree("event", where, f"its record {event.record_id} is not in lineage.lance")


def _facts_of_both(event: Event, record: Record) -> dict[str, tuple[object, object]]:
    return {
        "asset": (event.asset, record.asset),
        "data version": (event.data_version, record.data_version),
        "run": (event.run_id, record.run_id),
        "inputs": (dict(event.inputs), record.read),
    }
