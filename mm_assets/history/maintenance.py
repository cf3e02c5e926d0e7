"""What upkeep writes into `lineage.lance`: the versions that expire, and the tables that it works on."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from mm_assets.engines.lake.tables import Lake
from mm_assets.history.rows import EXPIRY, MAINTENANCE, TABLE, Row, append_rows
from mm_assets.lineage.records import Expiry, Maintenance
from mm_assets.lineage.refs import LanceRef


def expire(tables: Lake, expiries: Iterable[Expiry]) -> None:
    """Add expiries to the lake's history, in one commit; an expiry that it has is not added again."""
    append_rows(tables, [_row(EXPIRY, item, item.asset, item.reason) for item in expiries])


def expiries_in(rows: Iterable[Row]) -> list[Expiry]:
    """The expiries among the rows of the history, oldest first."""
    return [expiry_of(row) for row in rows if row.get("kind") == EXPIRY]


def expiry_of(row: Row) -> Expiry:
    """The expiry that a row of the history is."""
    return Expiry(asset=row["asset"], reason=json.loads(row["metadata"]), **_common(row))


@contextmanager
def maintaining(tables: Lake, table: str, run_id: str, step: str) -> Iterator[Callable[[], None]]:
    """Tell the history of commits that change no row and can carry no properties of their own.

    Yields:
        To be called before the first such commit: it writes that the work begins. Where it was called, the version
        that the table has at the end is written too; a run that is killed leaves the beginning alone.
    """
    begun: list[Maintenance] = []

    def begin() -> None:
        if not begun:
            ref = tables.ref(table, tables.open(table).version)
            begun.append(Maintenance(ref, run_id, step, None, datetime.now(UTC)))
            _note(tables, begun[0])

    yield begin
    # The history's own table gets a version by every row that is added to it: its commits tell who made them.
    if begun and table != TABLE:
        _note(tables, replace(begun[0], ended=tables.open(table).version, at=datetime.now(UTC)))


def maintained(tables: Lake, commit: LanceRef, run_id: str, step: str) -> None:
    """Tell the history of one commit that changed no row and says itself what it is; written after it, in one row.

    A process that dies in between leaves no row: the commit tells.
    """
    before = replace(commit, version=commit.version - 1)
    _note(tables, Maintenance(before, run_id, step, commit.version, datetime.now(UTC)))


def _note(tables: Lake, item: Maintenance) -> None:
    append_rows(tables, [_row(MAINTENANCE, item, None, {"ended": item.ended})])


def maintenance_in(rows: Iterable[Row]) -> list[Maintenance]:
    """The work of maintenance on tables, among the rows of the history; what ended is there once, with its end."""
    return each_once([maintenance_of(row) for row in rows if row.get("kind") == MAINTENANCE])


def maintenance_of(row: Row) -> Maintenance:
    """The beginning or the end of such work that a row of the history is."""
    return Maintenance(ended=json.loads(row["metadata"])["ended"], **_common(row))


def each_once(items: list[Maintenance]) -> list[Maintenance]:
    """Without the beginnings of what has ended."""
    ended = {item.begun for item in items if item.ended is not None}
    return [item for item in items if item.ended is not None or item.begun not in ended]


def _common(row: Row) -> dict[str, Any]:
    ref = LanceRef(row["table"], row["table_id"], row["version"])
    return {"ref": ref, **{name: row[name] for name in ("run_id", "step", "at")}}


def _row(kind: str, item: Expiry | Maintenance, asset: str | None, metadata: dict[str, Any]) -> Row:
    return {
        **{name: getattr(item, name) for name in ("id", "run_id", "step", "at")},
        **asdict(item.ref),
        "asset": asset,
        "kind": kind,
        "data_version": str(item.ref),
        "uri": f"{item.ref.table}.lance",
        "inputs": [],
        "metadata": json.dumps(metadata),
        "watermarks": "{}",
        "reused": False,
    }
