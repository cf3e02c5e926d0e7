"""Promotions: which record put a model into production, and what that model was made from."""

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
    # A later materialization that changed nothing says the same: the first one is when it was promoted.
    return next((record for record in promoted if record.ref == promoted[-1].ref), None)


def promotion_of(digest: str, at: LanceRef, history: Mapping[str, Record]) -> Record | None:
    """The newest record that put a model into production, up to a version of its table.

    Args:
        digest: of the model.
        at: a version of the table of those that promote.
        history: all records by id, oldest first; None is returned where it has lost that one.
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
    """The materialization of an asset that a record was made from; None where it was not made from that asset.

    Raises:
        RefusalError: the lake's history has lost one in between.
    """
    return next((ancestor for ancestor in walk(record, history) if ancestor.asset == asset), None)
