"""The rows of maintenance in `lineage.lance`: versions that expire, and work on tables."""

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
    """Add expiries to the lake's history in one commit; existing ones are not added again."""
    append_rows(tables, [_row(EXPIRY, item, item.asset, item.reason) for item in expiries])


def expiries_in(rows: Iterable[Row]) -> list[Expiry]:
    """The expiries among the rows of the history, oldest first."""
    return [expiry_of(row) for row in rows if row.get("kind") == EXPIRY]


def expiry_of(row: Row) -> Expiry:
    """Read a row of the history as an expiry."""
    return Expiry(asset=row["asset"], reason=json.loads(row["metadata"]), **_common(row))


@contextmanager
def maintaining(tables: Lake, table: str, run_id: str, step: str) -> Iterator[Callable[[], None]]:
    """Record commits in the history that change no row and can carry no properties.

    A worked example. Compaction begins on version 7 of a table, calls the yielded function, and a row says "begun at
    7". Its commits become versions 8 and 9, and a second row says "ended at 9". So `outside_writes` counts 8 and 9 as
    maintenance. A killed run leaves the first row alone; its span then reaches to the next maintenance of that table.

    Yields:
        A function to call before the first such commit; it writes the row of the beginning. The row of the end is
        written on leaving, where the function was called.
    """
    begun: list[Maintenance] = []

    def begin() -> None:
        if not begun:
            ref = tables.ref(table, tables.open(table).version)
            begun.append(Maintenance(ref, run_id, step, None, datetime.now(UTC)))
            _note(tables, begun[0])

    yield begin
    # No end for the history's own table: the row itself would make a version after it. Its commits name their makers.
    if begun and table != TABLE:
        _note(tables, replace(begun[0], ended=tables.open(table).version, at=datetime.now(UTC)))


def maintained(tables: Lake, commit: LanceRef, run_id: str, step: str) -> None:
    """Record one commit in the history that changed no row and says so in its properties.

    The row is written after the commit. A process that dies in between leaves no row; the commit's properties suffice.
    """
    before = replace(commit, version=commit.version - 1)
    _note(tables, Maintenance(before, run_id, step, commit.version, datetime.now(UTC)))


def _note(tables: Lake, item: Maintenance) -> None:
    append_rows(tables, [_row(MAINTENANCE, item, None, {"ended": item.ended})])


def maintenance_in(rows: Iterable[Row]) -> list[Maintenance]:
    """The maintenance of tables among the rows of the history. Work that ended is there once, with its end."""
    return each_once([maintenance_of(row) for row in rows if row.get("kind") == MAINTENANCE])


def maintenance_of(row: Row) -> Maintenance:
    """Read a row of the history as the beginning or the end of maintenance."""
    return Maintenance(ended=json.loads(row["metadata"])["ended"], **_common(row))


def each_once(items: list[Maintenance]) -> list[Maintenance]:
    """Leave out the beginnings of work that has ended."""
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
