"""The stages that write in batches, as steps: small batches, scores and answers that can be checked against the bytes.

What a step pins and how it publishes is the assets' own; what is missing is Dagster around it.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from mm_assets.engines.answering.transformers import answerer
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.source import Source
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.history.begin import StepRequest, begin
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.scoring import Scorer
from mm_assets.settings import IngestSettings, PredictSettings, ScoreSettings
from mm_assets.stages.ingest.job import list_objects, store_images
from mm_assets.stages.predict.job import predict
from mm_assets.stages.score.job import compute_scores
from mm_assets_tests.torture.workers import NAMES, Checksums, scorer

# Rows between two commits: a few, so that there are many.
BATCH_ROWS = 4
LIST, INGEST, SCORE, PREDICT = "list", "ingest", "score", "predict"
STAGES = (LIST, INGEST, SCORE, PREDICT)
ASSETS = {LIST: "raw_images", INGEST: "image_table", PREDICT: "batch_predictions"}
INPUTS = {LIST: [], INGEST: ["raw_images"], SCORE: ["image_table"], PREDICT: ["image_table", "evaluation"]}


@dataclass(frozen=True)
class Work:
    """What steps need.

    Args:
        tables: the lake.
        source: of the images.
        scorers: that run.
        retry_errors: what the jobs are told.
    """

    tables: Lake
    source: Source
    scorers: tuple[Scorer, ...] = field(default_factory=lambda: both("1"))
    retry_errors: bool = False


def both(revision: str) -> tuple[Scorer, ...]:
    """The two scorers at a revision."""
    return tuple(scorer(name, revision) for name in NAMES)


Job = Callable[[StepContext], dict[str, StepResult]]


def run(work: Work, cluster: Cluster, stage: str, say: Callable[[str], None] = lambda word: None) -> list[Record]:
    """Materialize a stage; `say` hears when its inputs are `pinned`, and when it comes to `publish`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answerer, "Answerer", Checksums)
        return _run(work, cluster, stage, say)


def _run(work: Work, cluster: Cluster, stage: str, say: Callable[[str], None]) -> list[Record]:
    tables, retry = work.tables, work.retry_errors
    ingest = IngestSettings(batch_rows=BATCH_ROWS, error_budget=1.0)
    score = ScoreSettings(batch_rows=BATCH_ROWS, error_budget=1.0)
    settings = PredictSettings(batch_rows=BATCH_ROWS, error_budget=1.0)

    def job(step: StepContext) -> dict[str, StepResult]:
        if stage == LIST:
            return {"raw_images": list_objects(step, tables, work.source, "me")}
        if stage == INGEST:
            return {"image_table": store_images(step, tables, cluster, work.source, ingest, retry_errors=retry)}
        if stage == SCORE:
            return compute_scores(step, tables, cluster, list(work.scorers), score, retry_errors=retry)
        return {"batch_predictions": predict(step, tables, cluster, settings, retry_errors=retry)}

    codes = {scorer.asset: scorer.revision for scorer in work.scorers} if stage == SCORE else {ASSETS[stage]: "1"}
    return _step(tables, job, codes, say, INPUTS[stage])


def _step(
    tables: Lake,
    job: Job,
    codes: dict[str, str],
    say: Callable[[str], None],
    inputs: Sequence[str],
) -> list[Record]:
    request = StepRequest(uuid.uuid4().hex, next(iter(codes)), codes, inputs, log=lambda line: None)
    step = begin(tables, request)
    say("pinned")
    results = job(step.context)
    say("publish")
    return [step.publish(asset, result) for asset, result in results.items()]
