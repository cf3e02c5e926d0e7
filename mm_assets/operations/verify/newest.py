"""Verifies the newest materialization of one asset: its event, record, commit, tag and inputs."""

from itertools import takewhile

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.events import Event, check_event
from mm_assets.operations.verify.rules.records import check_record, check_tag


def verify_newest(tables: Lake, asset: str, event: Event | None) -> tuple[Report, Record | None]:
    """Compares a materialization as Dagster has it with the lake. The reads are few, however large the lake is.

    Args:
        tables: the lake.
        asset: its name.
        event: its newest one, as Dagster has it. Without one, or with one of another lake, the lake's own newest
            materialization is checked: a step would read that one.

    Returns:
        The report, and the record that was checked; None where the lake has none.
    """
    report = Report()
    lake = LakeSnapshot(tables, report, names=())
    record = lake.history.records.get(event.record_id or "") if event else None
    record = record or lake.history.newest.get(asset)
    earlier = _earlier_versions(lake, record)
    if record is not None:
        is_named_before = not record.reused or (record.asset, record.ref) in earlier
        last = record.ref.version if is_named_before else record.confirmed_at
        lake.load_table(record.ref.table, range(record.ref.version, last + 1))
    elif event is not None:
        lake.load_table(event.table, [])
    if event is not None:
        check_event(lake, event, {}, report)
    if record is not None:
        check_record(lake, record, report, earlier)
        if lake.is_here(record.ref) and (record.asset, record.ref) not in lake.expired:
            check_tag(lake, record, report)
    return report, record


def _earlier_versions(lake: LakeSnapshot, record: Record | None) -> set[tuple[str, LanceRef]]:
    """Versions that the history names before a record."""
    older = takewhile(lambda other: other is not record, lake.history.records.values())
    return {(other.asset, other.ref) for other in older}
