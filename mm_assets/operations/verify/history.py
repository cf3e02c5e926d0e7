"""What the lake's history says, row by row; what was written by others may have any shape, and is told."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import lance

from mm_assets.engines.lake.schemas import missing
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.history.maintenance import each_once, expiry_of, maintenance_of
from mm_assets.history.materializations import record_of
from mm_assets.history.origins import Commit
from mm_assets.history.rows import EXPIRY, MAINTENANCE, MATERIALIZATION, SCHEMA, TABLE, Row, rows_of
from mm_assets.lineage.properties import INPUTS, RECORDS
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.verify.report import Report

TEXTS = ("id", "asset", "run_id", "step", "code_version")
# What the parts of this project that read a row or a commit raise where a stranger wrote it.
UNREADABLE = (KeyError, TypeError, ValueError)
Read = TypeVar("Read")


def read_history(lake: Lake, ds: lance.LanceDataset, report: Report) -> History:
    """All rows that can be understood; each of the others is a disagreement.

    Raises:
        RefusalError: the table is not the history of a lake, or one of a release that this one does not know.
    """
    missing(ds, SCHEMA)
    found = History(lake)
    for row in rows_of(ds):
        where = f"{TABLE}, row {row['id']}"
        if _understand(partial(_add, row, found), where, report):
            _check_columns(row, where, report)
    found.maintenance = each_once(found.maintenance)
    return found


def _understand(read: Callable[[], Read], where: str, report: Report) -> Read | None:
    try:
        return read()
    except UNREADABLE as error:
        report.disagree("record", where, f"says nothing that can be understood: {type(error).__name__}: {error}")
        return None


def _add(row: Row, found: History) -> bool:
    kind = row.get("kind") or MATERIALIZATION
    if kind == MATERIALIZATION:
        record = _sound(record_of(row))
        _require(record.id not in found.records, "its id is there twice")
        found.records[record.id] = record
    elif kind == EXPIRY:
        item = expiry_of(row)
        _sound_ref(item.ref)
        found.expiries.append(item)
    elif kind == MAINTENANCE:
        work = maintenance_of(row)
        _sound_ref(work.ref)
        _require(work.ended is None or isinstance(work.ended, int), "its end is no version")
        found.maintenance.append(work)
    else:
        raise ValueError(f"the history has no rows of the kind {kind}")
    return True


def _check_columns(row: Row, where: str, report: Report) -> None:
    """What a row says twice, for those who read it without this project."""
    said = {
        "data_version": str(LanceRef(row["table"], row["table_id"], row["version"])),
        "uri": f"{row['table']}.lance",
    }
    for name, expected in said.items():
        if row[name] != expected:
            report.disagree("record", where, f"its {name} is {row[name]} instead of {expected}")


def _require(holds: bool, said: str) -> None:
    if not holds:
        raise ValueError(said)


def _sound(record: Record) -> Record:
    """A record whose fields are what they say."""
    for name in TEXTS:
        _require(isinstance(getattr(record, name), str), f"its {name} is {getattr(record, name)}")
    for item in record.inputs:
        _require(_are_texts(vars(item)), "an input is not named")
    _sound_ref(record.ref)
    _require(isinstance(record.metadata, dict), "its metadata are no object")
    _require(isinstance(record.at, datetime) and isinstance(record.reused, bool), "it lacks its time, or reused")
    return record


def _sound_ref(ref: LanceRef) -> None:
    named = isinstance(ref.table, str) and isinstance(ref.table_id, str) and isinstance(ref.version, int)
    _require(named, "it names no version of a table")


def _are_texts(found: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in found.values())


def drafts_of(commit: Commit, ref: LanceRef, report: Report) -> list[Record]:
    """The records that a commit carries, each as the history should have it."""
    where = f"{commit.table}@v{commit.version}, {RECORDS}"
    drafts = _understand(partial(_listed, commit.properties.get(RECORDS, "[]")), where, report) or []
    found = [_understand(partial(_draft, one, ref), where, report) for one in drafts]
    return [record for record in found if record is not None]


def _listed(text: str) -> list[Any]:
    found = json.loads(text)
    _require(isinstance(found, list), "it is no list")
    return found


def _draft(said: Mapping[str, Any], ref: LanceRef) -> Record:
    return _sound(Record.from_commit(said, ref))


def inputs_in(commit: Commit) -> dict[str, str] | None:
    """Data version by asset, of what a commit was made from; None where what it says cannot be understood."""
    try:
        found = json.loads(commit.properties.get(INPUTS, "{}"))
    except ValueError:
        return None
    return found if isinstance(found, dict) and _are_texts(found) else None
