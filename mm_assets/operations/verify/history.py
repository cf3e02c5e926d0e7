"""Reads the lake's history row by row. Rows by others may have any shape; each of these is a disagreement."""

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
# Raised by this project's readers of rows and commits for what others wrote.
UNREADABLE = (KeyError, TypeError, ValueError)
Read = TypeVar("Read")


def read_history(lake: Lake, ds: lance.LanceDataset, report: Report) -> History:
    """Reads all rows that can be understood; each of the others is a disagreement.

    Raises:
        RefusalError: the table is not the history of a lake, or one of a release that this one does not know.
    """
    missing(ds, SCHEMA)
    history = History(lake)
    for row in rows_of(ds):
        where = f"{TABLE}, row {row['id']}"
        if _understand(partial(_add, row, history), where, report):
            _check_columns(row, where, report)
    history.maintenance = each_once(history.maintenance)
    return history


def _understand(read: Callable[[], Read], where: str, report: Report) -> Read | None:
    try:
        return read()
    except UNREADABLE as error:
        report.disagree("record", where, f"says nothing that can be understood: {type(error).__name__}: {error}")
        return None


def _add(row: Row, history: History) -> bool:
    kind = row.get("kind") or MATERIALIZATION
    if kind == MATERIALIZATION:
        record = _checked(record_of(row))
        _require(record.id not in history.records, "its id is there twice")
        history.records[record.id] = record
    elif kind == EXPIRY:
        item = expiry_of(row)
        _check_ref(item.ref)
        history.expiries.append(item)
    elif kind == MAINTENANCE:
        work = maintenance_of(row)
        _check_ref(work.ref)
        _require(work.ended is None or isinstance(work.ended, int), "its end is no version")
        history.maintenance.append(work)
    else:
        raise ValueError(f"the history has no rows of the kind {kind}")
    return True


def _check_columns(row: Row, where: str, report: Report) -> None:
    """Columns that repeat others, for readers without this project, must agree with them."""
    expected_values = {
        "data_version": str(LanceRef(row["table"], row["table_id"], row["version"])),
        "uri": f"{row['table']}.lance",
    }
    for name, expected in expected_values.items():
        if row[name] != expected:
            report.disagree("record", where, f"its {name} is {row[name]} instead of {expected}")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)


def _checked(record: Record) -> Record:
    """Returns the record if its fields have their types; raises ValueError otherwise."""
    for name in TEXTS:
        _require(isinstance(getattr(record, name), str), f"its {name} is {getattr(record, name)}")
    for item in record.inputs:
        _require(_are_texts(vars(item)), "an input is not named")
    _check_ref(record.ref)
    _require(isinstance(record.metadata, dict), "its metadata are no object")
    _require(isinstance(record.at, datetime) and isinstance(record.reused, bool), "it lacks its time, or reused")
    return record


def _check_ref(ref: LanceRef) -> None:
    named = isinstance(ref.table, str) and isinstance(ref.table_id, str) and isinstance(ref.version, int)
    _require(named, "it names no version of a table")


def _are_texts(values: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in values.values())


def drafts_of(commit: Commit, ref: LanceRef, report: Report) -> list[Record]:
    """The records that a commit carries, each as the history should have it."""
    where = f"{commit.table}@v{commit.version}, {RECORDS}"
    drafts = _understand(partial(_parse_list, commit.properties.get(RECORDS, "[]")), where, report) or []
    records = [_understand(partial(_parse_draft, one, ref), where, report) for one in drafts]
    return [record for record in records if record is not None]


def _parse_list(text: str) -> list[Any]:
    value = json.loads(text)
    _require(isinstance(value, list), "it is no list")
    return value


def _parse_draft(values: Mapping[str, Any], ref: LanceRef) -> Record:
    return _checked(Record.from_commit(values, ref))


def inputs_in(commit: Commit) -> dict[str, str] | None:
    """The inputs that a commit names, data version by asset; None where these cannot be understood."""
    try:
        inputs = json.loads(commit.properties.get(INPUTS, "{}"))
    except ValueError:
        return None
    return inputs if isinstance(inputs, dict) and _are_texts(inputs) else None
