"""Dagster's event log against the lake's history; what an event is, is told to this module."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mm_assets.lineage.refs import Record
from mm_assets.verify.lake import Lake
from mm_assets.verify.report import Report


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
    """

    asset: str
    number: int
    run_id: str
    record_id: str | None
    data_version: str | None
    inputs: Mapping[str, str]


class EventLog(Protocol):
    """The seam to Dagster."""

    def events(self) -> Iterable[Event]:
        """All materializations of the project's assets, oldest first."""

    def succeeded(self, run_ids: Iterable[str]) -> Mapping[str, bool]:
        """Of those runs that this instance knows, whether they came to a good end."""


def check_events(lake: Lake, log: EventLog, report: Report) -> None:
    """Every event says what its record says, and every record of a run that succeeded has one event."""
    seen: dict[str, int] = {}
    for event in log.events():
        report.looked_at["events"] += 1
        check_event(lake, event, seen, report)
    without = [record for record in lake.history.values() if record.id not in seen]
    ends = log.succeeded({record.run_id for record in without})
    for record in without:
        where = f"{record.asset} {record.data_version}"
        if ends.get(record.run_id):
            report.disagree("event", where, f"its run {record.run_id} succeeded, and Dagster has no event of it")
        else:
            known = record.run_id in ends
            what = "whose run was cut off before the event" if known else "by another Dagster instance"
            report.named[f"materializations {what}"] += 1


def check_event(lake: Lake, event: Event, seen: dict[str, int], report: Report) -> None:
    """One event; `seen` are the records that have an event already, which it is added to."""
    where = f"{event.asset} {event.data_version or '(no data version)'}, event {event.number}"
    if event.record_id is None:
        report.disagree("event", where, "reported by hand: it names no record of the lake")
        return
    record = lake.history.get(event.record_id)
    if record is None:
        if _is_elsewhere(lake, event):
            report.named["events of other lakes"] += 1
        else:
            report.disagree("event", where, f"its record {event.record_id} is not in lineage.lance")
        return
    if event.record_id in seen:
        report.disagree("event", where, f"its record has an event already, {seen[event.record_id]}")
    seen.setdefault(event.record_id, event.number)
    for what, (said, recorded) in _compared(event, record).items():
        if said != recorded:
            report.disagree("event", where, f"{what}: Dagster says {said}, lineage.lance {recorded}")


def _is_elsewhere(lake: Lake, event: Event) -> bool:
    """Whether an event is of a table that this lake never had."""
    known = {str(record.ref).rpartition("@")[0] for record in lake.history.values()}
    return event.data_version is not None and event.data_version.rpartition("@")[0] not in known


def _compared(event: Event, record: Record) -> dict[str, tuple[object, object]]:
    return {
        "asset": (event.asset, record.asset),
        "data version": (event.data_version, record.data_version),
        "run": (event.run_id, record.run_id),
        "inputs": (dict(event.inputs), record.read),
    }
