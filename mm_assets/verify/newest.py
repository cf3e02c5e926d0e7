"""The newest materialization of one asset: its event, record, commit, tag and inputs, without a look at the rest."""

from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.lineage_table import last_records
from mm_assets.lineage.refs import Record
from mm_assets.verify.events import Event, check_event
from mm_assets.verify.lake import Lake
from mm_assets.verify.records import check_record, check_tag
from mm_assets.verify.report import Report


def verify_newest(tables: LakeTables, asset: str, event: Event | None) -> tuple[Report, Record | None]:
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
    lake = Lake(tables, report, names=())
    record = lake.history.get(event.record_id or "") if event else None
    record = record or last_records(tables, lake.history.values()).get(asset)
    if record is not None:
        lake.meet(record.ref.table, [record.ref.version])
    if event is not None:
        check_event(lake, event, {}, report)
    if record is not None:
        earlier = {(known.asset, known.ref) for known in lake.history.values() if not known.reused}
        check_record(lake, record, report, earlier)
        if lake.is_here(record.ref) and (record.asset, record.ref) not in lake.withdrawn:
            check_tag(lake, record, report)
    return report, record
