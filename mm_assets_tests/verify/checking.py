"""Verify a lake, and commit to it as if one were a step."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from mm_assets.engines.lance_commits import commit, put_rows
from mm_assets.engines.lance_tables import LakeTables, write_fragments
from mm_assets.engines.lineage_rows import TABLE as LINEAGE
from mm_assets.engines.lineage_table import records
from mm_assets.lineage.refs import Record, Step
from mm_assets.verify.job import verify
from mm_assets.verify.report import Report


def quiet(_: str) -> None:
    """Nobody listens."""


def check(tables: LakeTables, *, deep: bool = False) -> Report:
    return verify(tables, quiet, deep=deep)


def lines(tables: LakeTables, *, deep: bool = False) -> list[str]:
    return [f"{item.kind}: {item}" for item in check(tables, deep=deep).disagreements]


def put_back(tables: LakeTables, versions: int = 1) -> None:
    """An older copy of the history in place of the newest; what a process leaves that dies before its last row."""
    manifests = sorted(Path(tables.uri(LINEAGE), "_versions").glob("*.manifest"))  # the newest first
    for manifest in manifests[:versions]:
        manifest.unlink()


def newest(tables: LakeTables, asset: str) -> Record:
    return next(record for record in reversed(records(tables).values()) if record.asset == asset)


def forged_step(record: Record, **changed: Any) -> Step:
    """A step that says it is the one of a record."""
    said = {"run_id": record.run_id, "key": record.step, **changed}
    return Step(**said, code_versions={record.asset: "1"}, inputs={}, ancestors={}, own={}, log=print)


def put(tables: LakeTables, table: str, schema: pa.Schema, key: str, row: dict[str, Any], step: Step) -> None:
    asset = next(iter(step.code_versions))
    fragments = write_fragments(tables, table, pa.Table.from_pylist([row], schema=schema))
    commit(tables, table, lambda ds: put_rows(ds, key, [row[key]], fragments), step.properties([asset], 7))
