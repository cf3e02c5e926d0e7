"""Verify a lake, and commit to it as if one were a step."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.history.history import History
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.operations.verify.job import verify
from mm_assets.operations.verify.report import Report
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets_tests.kit.steps import run_step

NOTHING: Mapping[str, Any] = MappingProxyType({})


def quiet(_: str) -> None:
    """Nobody listens."""


def check(tables: Lake, *, deep: bool = False) -> Report:
    return verify(tables, quiet, deep=deep)


def lines(tables: Lake, *, deep: bool = False) -> list[str]:
    return [f"{item.kind}: {item}" for item in check(tables, deep=deep).disagreements]


def put_back(tables: Lake, versions: int = 1) -> None:
    """An older copy of the history in place of the newest; what a process leaves that dies before its last row."""
    manifests = sorted(Path(tables.uri(LINEAGE), "_versions").glob("*.manifest"))  # the newest first
    for manifest in manifests[:versions]:
        manifest.unlink()


def newest(tables: Lake, asset: str) -> Record:
    return next(record for record in reversed(History.read(tables).records.values()) if record.asset == asset)


def forged_step(record: Record, **changed: Any) -> StepContext:
    """A step that says it is the one of a record."""
    said = {"run_id": record.run_id, "key": record.step, **changed}
    return StepContext(**said, code_versions={record.asset: "1"}, inputs={}, records={}, own={}, log=print)


def put(tables: Lake, table: str, schema: pa.Schema, key: str, row: dict[str, Any], step: StepContext) -> None:
    asset = next(iter(step.code_versions))
    fragments = write_fragments(tables, table, pa.Table.from_pylist([row], schema=schema))
    commit(tables, table, lambda ds: replace_rows(ds, key, [row[key]], fragments), step.properties([asset], 7))


def write_dataset(tables: Lake, changed: Mapping[str, Any] = NOTHING, **metadata: Any) -> Record:
    """Materialize the dataset: one of its rows is written again, with other cells."""

    def job(step: StepContext) -> StepResult:
        final = StepResult({"rows": 16, **metadata})
        row = tables.open(SFT).to_table(limit=1).to_pylist()[0] | changed
        fragments = write_fragments(tables, SFT, pa.Table.from_pylist([row], schema=SFT_SCHEMA))
        properties = step.properties(["sft_dataset"], 1, {"sft_dataset": final})
        commit(tables, SFT, lambda ds: replace_rows(ds, "example_id", [row["example_id"]], fragments), properties)
        return final

    return run_step(tables, job, "sft_dataset", inputs=("image_table",))["sft_dataset"]
