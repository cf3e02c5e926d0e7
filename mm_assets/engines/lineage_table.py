"""`lineage.lance`: one row per materialization, append only; and what each asset's own last commit is."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import lance
import pyarrow as pa

from mm_assets.engines.lance_commits import carries, commit, commits_after, put_rows, rows_by_key, tag
from mm_assets.engines.lance_tables import LakeTables, key_field, table_id, write_fragments
from mm_assets.lineage.refs import RECORDS, RUN, InputRef, LanceRef, OwnCommit, Record, tag_name

TABLE = "lineage"

SCHEMA = pa.schema(
    [
        key_field("id"),
        pa.field("asset", pa.string()),
        pa.field("data_version", pa.string()),
        pa.field("uri", pa.string()),  # relative to the lake, which can be moved
        pa.field("table", pa.string()),
        pa.field("table_id", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("run_id", pa.string()),
        pa.field("step", pa.string()),
        pa.field("code_version", pa.string()),
        pa.field(
            "inputs",
            pa.list_(pa.struct([(name, pa.string()) for name in ("asset", "data_version", "record_id")])),
        ),
        pa.field("metadata", pa.string()),
        pa.field("watermarks", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("reused", pa.bool_()),
    ]
)


def append(tables: LakeTables, record: Record) -> None:
    """Add a materialization to the lake's history, if it is not there yet (another process may have healed it)."""
    tables.open_or_create(TABLE, SCHEMA, {})
    row = {
        **{name: getattr(record, name) for name in ("id", "asset", "run_id", "step", "code_version", "at", "reused")},
        **asdict(record.ref),
        "data_version": record.data_version,
        "uri": f"{record.ref.table}.lance",
        "inputs": [asdict(item) for item in record.inputs],
        "metadata": json.dumps(record.metadata),
        "watermarks": json.dumps(record.watermarks),
    }

    def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        if rows_by_key(head, "id", [record.id]).num_rows:
            return None
        rows = pa.Table.from_pylist([row], schema=pa.schema(list(head.schema)))
        return put_rows(head, "id", [], write_fragments(tables, TABLE, rows))

    commit(tables, TABLE, put, {})


def records(tables: LakeTables) -> dict[str, Record]:
    """All materializations of the lake by id, oldest first ({} in a new lake)."""
    if not tables.exists(TABLE):
        return {}
    return {row["id"]: _record(row) for row in tables.open(TABLE).to_table().to_pylist()}


def _record(row: dict[str, Any]) -> Record:
    inputs = tuple(InputRef(**item) for item in row["inputs"])
    names = ("id", "asset", "run_id", "step", "code_version", "at", "reused")
    return Record(
        **{name: row[name] for name in names},
        ref=LanceRef(row["table"], row["table_id"], row["version"]),
        inputs=inputs,
        metadata=json.loads(row["metadata"]),
        watermarks=json.loads(row["watermarks"]),
    )


def last_records(tables: LakeTables, history: Iterable[Record]) -> dict[str, Record]:
    """The newest materialization of each asset, of those whose table still is the one that they name."""
    ids = {table: table_id(tables.open(table)) for table in {r.ref.table for r in history} if tables.exists(table)}
    return {record.asset: record for record in history if ids.get(record.ref.table) == record.ref.table_id}


def own_commit(tables: LakeTables, asset: str, table: str) -> OwnCommit:
    """The asset's last commit and last record; a record lost to a crash after the final commit is written now."""
    if not tables.exists(table):
        return OwnCommit(None, None)
    record = last_records(tables, list(records(tables).values())).get(asset)
    ds = tables.open(table)
    ref = record.ref if record else None
    for version, properties in commits_after(ds, record.walked if record else 0):
        if carries(properties, asset):
            ref = tables.ref(table, version)
            drafts = json.loads(properties[RECORDS])
            for draft in (draft for draft in drafts if draft["asset"] == asset):
                record = Record.from_commit(draft, ref)
                tag(ds, tag_name(asset, version), version)
                append(tables, record)
    return OwnCommit(record, ref)


def last_commit_of_run(tables: LakeTables, table: str, asset: str, run_id: str, after: int) -> LanceRef | None:
    """The newest commit above version `after` that a run made for an asset; None where it made none."""
    commits = commits_after(tables.open(table), after)
    mine = [version for version, found in commits if found.get(RUN) == run_id and carries(found, asset)]
    return tables.ref(table, mine[-1]) if mine else None
