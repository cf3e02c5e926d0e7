"""Promotions: the record that put a model into production, and the model's ancestors."""

from collections.abc import Mapping

from mm_assets.catalog import keys_where
from mm_assets.lineage.ancestry import walk
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef

PROMOTING = keys_where(lambda row: row.promotes)


def last_promotion(history: Mapping[str, Record]) -> Record | None:
    """The newest record that promoted a model; None before the first promotion.

    Args:
        history: all records by id, oldest first.
    """
    promoted = [record for record in history.values() if record.asset in PROMOTING and record.metadata.get("promoted")]
    # A later materialization that reused this version says "promoted" too: the first one tells when it was.
    return next((record for record in promoted if record.ref == promoted[-1].ref), None)


def promotion_of(digest: str, at: LanceRef, history: Mapping[str, Record]) -> Record | None:
    """The newest record that put a model into production, up to a version of its table.

    Args:
        digest: of the model.
        at: a version of the table of evaluations.
        history: all records by id, oldest first.

    Returns:
        The record; None where the history has none.
    """
    promotions = [
        record
        for record in history.values()
        if record.asset in PROMOTING
        and record.metadata.get("promoted")
        and record.metadata.get("challenger") == digest
        and record.ref.table_id == at.table_id
        and record.ref.version <= at.version
    ]
    return next((record for record in promotions if record.ref == promotions[-1].ref), None)


def made_from(record: Record, asset: str, history: Mapping[str, Record]) -> Record | None:
    """The materialization of an asset among a record's ancestors; None where there is none.

    Raises:
        RefusalError: the lake's history has lost an ancestor.
    """
    return next((ancestor for ancestor in walk(record, history) if ancestor.asset == asset), None)
