"""Materializations as rows of `lineage.lance`."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from mm_assets.history.rows import MATERIALIZATION, Row
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import InputRef, LanceRef

# Fields that are stored as columns without a change.
_PLAIN = ("id", "asset", "run_id", "step", "code_version", "at", "reused")


def row_of(record: Record) -> Row:
    """The row that stores a materialization."""
    return {
        "kind": MATERIALIZATION,
        **{name: getattr(record, name) for name in _PLAIN},
        **asdict(record.ref),
        "data_version": record.data_version,
        "uri": f"{record.ref.table}.lance",
        "inputs": [asdict(item) for item in record.inputs],
        "metadata": json.dumps(record.metadata),
        "watermarks": json.dumps(record.progress.as_json()),  # the column is older than its content
    }


def record_of(row: Row) -> Record:
    """The materialization that a row stores.

    Raises:
        KeyError, TypeError, ValueError: the row holds something else.
    """
    return Record(
        **{name: row[name] for name in _PLAIN},
        ref=LanceRef(row["table"], row["table_id"], row["version"]),
        inputs=tuple(InputRef(**item) for item in row["inputs"]),
        metadata=json.loads(row["metadata"]),
        progress=Progress.from_json(json.loads(row["watermarks"]), row["table"]),
    )


def materializations(rows: Iterable[Row]) -> dict[str, Record]:
    """The materializations among the rows of the history, by id."""
    return {row["id"]: record_of(row) for row in rows if row.get("kind") in (MATERIALIZATION, None)}
