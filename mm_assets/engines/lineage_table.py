"""`lineage.lance`: one row per materialization or withdrawal, append only; and what each asset's own last commit is."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import lance
import pyarrow as pa

from mm_assets.engines.lance_commits import add_columns, carries, commit, commits_after, put_rows, rows_by_key, tag
from mm_assets.engines.lance_tables import LakeTables, key_field, table_id, write_fragments
from mm_assets.lineage.refs import RECORDS, RUN, InputRef, LanceRef, OwnCommit, Record, Withdrawal, tag_name

TABLE = "lineage"
# Kinds of rows.
MATERIALIZATION, WITHDRAWAL = "materialization", "withdrawal"

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
        pa.field("kind", pa.string()),  # materialization | withdrawal (its metadata says why); null: a materialization
    ]
)


def append(tables: LakeTables, record: Record) -> None:
    """Add a materialization to the lake's history, if it is not there yet (another process may have healed it)."""
    row = {
        "kind": MATERIALIZATION,
        **{name: getattr(record, name) for name in ("id", "asset", "run_id", "step", "code_version", "at", "reused")},
        **asdict(record.ref),
        "data_version": record.data_version,
        "uri": f"{record.ref.table}.lance",
        "inputs": [asdict(item) for item in record.inputs],
        "metadata": json.dumps(record.metadata),
        "watermarks": json.dumps(record.watermarks),
    }
    _append(tables, [row])


def withdraw(tables: LakeTables, withdrawals: Iterable[Withdrawal]) -> None:
    """Add withdrawals to the lake's history, in one commit; what was withdrawn before is not added again."""
    _append(
        tables,
        [
            {
                **{name: getattr(item, name) for name in ("id", "asset", "run_id", "step", "at")},
                **asdict(item.ref),
                "kind": WITHDRAWAL,
                "data_version": str(item.ref),
                "uri": f"{item.ref.table}.lance",
                "inputs": [],
                "metadata": json.dumps(item.reason),
                "watermarks": "{}",
                "reused": False,
            }
            for item in withdrawals
        ],
    )


def _append(tables: LakeTables, rows: list[dict[str, Any]]) -> None:
    if tables.exists(TABLE):  # one that an earlier version made has no kinds
        commit(tables, TABLE, lambda head: add_columns(head, SCHEMA), {})
    else:
        tables.open_or_create(TABLE, SCHEMA, {})

    def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        there = set(rows_by_key(head, "id", [row["id"] for row in rows])["id"].to_pylist())
        new = [row for row in rows if row["id"] not in there]
        if not new:
            return None
        added = pa.Table.from_pylist(new, schema=pa.schema(list(head.schema)))
        return put_rows(head, "id", [], write_fragments(tables, TABLE, added))

    if rows:
        commit(tables, TABLE, put, {})


def records(tables: LakeTables) -> dict[str, Record]:
    """All materializations of the lake by id, oldest first ({} in a new lake)."""
    return history(tables)[0]


def withdrawals(tables: LakeTables) -> list[Withdrawal]:
    """What the lake has let go, oldest first."""
    return history(tables)[1]


def history(tables: LakeTables) -> tuple[dict[str, Record], list[Withdrawal]]:
    """`records` and `withdrawals`, read together."""
    rows = _rows(tables)
    made = {row["id"]: _record(row) for row in rows if row.get("kind") != WITHDRAWAL}
    return made, [_withdrawal(row) for row in rows if row.get("kind") == WITHDRAWAL]


def _rows(tables: LakeTables) -> list[dict[str, Any]]:
    """All rows in the order in which they were added: row ids keep it, a compaction may not."""
    if not tables.exists(TABLE):
        return []
    return tables.open(TABLE).scanner(with_row_id=True).to_table().sort_by("_rowid").to_pylist()


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


def _withdrawal(row: dict[str, Any]) -> Withdrawal:
    return Withdrawal(
        **{name: row[name] for name in ("asset", "run_id", "step", "at")},
        ref=LanceRef(row["table"], row["table_id"], row["version"]),
        reason=json.loads(row["metadata"]),
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


def last_commit_of_run(
    tables: LakeTables, table: str, asset: str, run_id: str, after: int, looked_at: int = 0
) -> LanceRef | None:
    """The newest commit above version `after`, for an asset, that a run made or had before its eyes; None without one.

    Args:
        tables: the lake.
        table: of the asset.
        asset: its name.
        run_id: of the run.
        after: the version of an earlier commit.
        looked_at: up to this version commits of other runs count too.
    """
    commits = [(v, found) for v, found in commits_after(tables.open(table), after) if carries(found, asset)]
    seen = [version for version, found in commits if found.get(RUN) == run_id or version <= looked_at]
    return tables.ref(table, seen[-1]) if seen else None
