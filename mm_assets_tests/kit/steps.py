"""Steps for testing jobs without Dagster: what a step pins is given, what it wrote is recorded."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.opening import open_source
from mm_assets.engines.sources.source import Source
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.history.begin import StepRequest, begin
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import IngestSettings, S3Settings
from mm_assets.stages.ingest.job import list_objects, store_images


def run_step(
    tables: Lake,
    job: Callable[[StepContext], StepResult | dict[str, StepResult]],
    *assets: str,
    inputs: tuple[str, ...] = (),
    code: str = "1",
) -> dict[str, Record]:
    """Run a job as the step of `assets`, with the newest version of each input pinned, and publish its records."""
    request = StepRequest(uuid.uuid4().hex, assets[0], dict.fromkeys(assets, code), inputs)
    step = begin(tables, request)
    done = job(step.context)
    results = {assets[0]: done} if isinstance(done, StepResult) else done
    return {asset: step.publish(asset, result) for asset, result in results.items()}


def nothing_new(again: Record, before: Record) -> bool:
    """Whether a materialization found everything as the one before had left it."""
    return again.reused and again.ref == before.ref and again.metadata["rows_computed"] == 0


def ingest(
    tables: Lake,
    cluster: Cluster,
    place: Source | Path,
    code: str = "1",
    *,
    retry_errors: bool = False,
    **settings: Any,
) -> tuple[Record, Record]:
    """List a source (or a folder, or a manifest of files) and store its images."""
    source = open_source(str(place), S3Settings()) if isinstance(place, Path) else place
    listed = run_step(tables, lambda step: list_objects(step, tables, source, "me"), "raw_images")
    stored = run_step(
        tables,
        lambda step: store_images(step, tables, cluster, source, IngestSettings(**settings), retry_errors=retry_errors),
        "image_table",
        inputs=("raw_images",),
        code=code,
    )
    return listed["raw_images"], stored["image_table"]
