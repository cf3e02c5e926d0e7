"""The newest materialization of one asset: its event, record, commit, tag and inputs, without a look at the rest."""

from itertools import takewhile

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.events import Event, check_event
from mm_assets.operations.verify.rules.records import check_record, check_tag


def verify_newest(tables: Lake, asset: str, event: Event | None) -> tuple[Report, Record | None]:
    """Compare what Dagster says of a materialization with the lake: a few reads, whatever the lake holds.

    Args:
        tables: the lake.
        asset: its name.
        event: its newest one, as Dagster has it. Where there is none, or it is of another lake, this lake's own newest
            materialization is looked at: it is the one that a step would read.

    Returns:
        What was found, and the record that was looked at; None where the lake has none.
    """
    report = Report()
    lake = LakeSnapshot(tables, report, names=())
    record = lake.history.records.get(event.record_id or "") if event else None
    record = record or lake.history.newest.get(asset)
    earlier = _before(lake, record)
    if record is not None:
        known = not record.reused or (record.asset, record.ref) in earlier
        lake.meet(
            record.ref.table, range(record.ref.version, (record.ref.version if known else record.confirmed_at) + 1)
        )
    elif event is not None:
        lake.meet(event.table, [])
    if event is not None:
        check_event(lake, event, {}, report)
    if record is not None:
        check_record(lake, record, report, earlier)
        if lake.is_here(record.ref) and (record.asset, record.ref) not in lake.expired:
            check_tag(lake, record, report)
    return report, record


def _before(lake: LakeSnapshot, record: Record | None) -> set[tuple[str, LanceRef]]:
    """The versions that the history names before a record."""
    older = takewhile(lambda known: known is not record, lake.history.records.values())
    return {(known.asset, known.ref) for known in older}
