"""Materializations in `lineage.lance`, and what each asset's own last commit is."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from mm_assets.engines.lake.commits import carries, commits_after, properties_of, tag
from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.history.rows import MATERIALIZATION, Row, append_rows, read_rows
from mm_assets.lineage.properties import RECORDS, RUN
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import InputRef, LanceRef, tag_name
from mm_assets.lineage.step import AssetState


def append(tables: Lake, record: Record) -> None:
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
    append_rows(tables, [row])


def records(tables: Lake) -> dict[str, Record]:
    """All materializations of the lake by id, oldest first ({} in a new lake)."""
    return materializations(read_rows(tables))


def materializations(rows: Iterable[Row]) -> dict[str, Record]:
    """Those among the rows of the history, by id."""
    return {row["id"]: record_of(row) for row in rows if row.get("kind") in (MATERIALIZATION, None)}


def record_of(row: Row) -> Record:
    """The materialization that a row of the history is."""
    inputs = tuple(InputRef(**item) for item in row["inputs"])
    names = ("id", "asset", "run_id", "step", "code_version", "at", "reused")
    return Record(
        **{name: row[name] for name in names},
        ref=LanceRef(row["table"], row["table_id"], row["version"]),
        inputs=inputs,
        metadata=json.loads(row["metadata"]),
        watermarks=json.loads(row["watermarks"]),
    )


def last_records(tables: Lake, history: Iterable[Record]) -> dict[str, Record]:
    """The newest materialization of each asset, of those whose table still is the one that they name."""
    ids = {table: table_id(tables.open(table)) for table in {r.ref.table for r in history} if tables.exists(table)}
    return {record.asset: record for record in history if ids.get(record.ref.table) == record.ref.table_id}


def own_commit(tables: Lake, asset: str, table: str) -> AssetState:
    """The asset's last commit and last record; a record lost to a crash after the final commit is written now."""
    if not tables.exists(table):
        return AssetState(None, None)
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
    return AssetState(record, ref, ds.version)


def last_commit_of_run(
    tables: Lake, table: str, asset: str, run_id: str, after: int, looked_at: int = 0
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


def run_of(tables: Lake, ref: LanceRef) -> str | None:
    """The run that made the commit of a version."""
    return properties_of(tables.open_at(ref).read_transaction(ref.version)).get(RUN)
