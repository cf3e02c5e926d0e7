"""Verify a lake, and commit to it as if one were a step."""

from typing import Any

import pyarrow as pa

from mm_assets.engines.lance_commits import commit, put_rows
from mm_assets.engines.lance_tables import LakeTables, write_fragments
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
