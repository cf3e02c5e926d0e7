"""One job after the other as steps of their own, without Dagster: score, group, train and evaluate, predict."""

from typing import Any

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.records import Record
from mm_assets.scoring import Scorer
from mm_assets.settings import CurateSettings, EvaluateSettings, PredictSettings, ScoreSettings, TaskSettings
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.predict.job import predict
from mm_assets.stages.score.grouping import NEAR_DUPLICATES, group_duplicates
from mm_assets.stages.score.job import compute_scores
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.small_lake import checkpoint, dataset, photos, store
from mm_assets_tests.kit.steps import run_step


def score(
    tables: Lake, cluster: Cluster, *scorers: Scorer, retry_errors: bool = False, **settings: Any
) -> dict[str, Record]:
    how = ScoreSettings(**{"error_budget": 1, **settings})
    return run_step(
        tables,
        lambda step: compute_scores(step, tables, cluster, list(scorers), how, retry_errors=retry_errors),
        *(scorer.asset for scorer in scorers),
        inputs=("image_table",),
    )


def cells(tables: Lake, *columns: str) -> dict[str, tuple[Any, ...]]:
    table = tables.open("images").to_table(columns=["image_id", *columns]).to_pylist()
    return {row["image_id"]: tuple(row[name] for name in columns) for row in table}


def group(tables: Lake, max_distance: int = 2, code: str = "1") -> Record:
    return run_step(
        tables,
        lambda step: group_duplicates(step, tables, max_distance),
        NEAR_DUPLICATES,
        inputs=("scores/phash",),
        code=code,
    )[NEAR_DUPLICATES]


def trained(tables: Lake, *tasks: TaskSettings, **odd: Any) -> None:
    rows = photos()
    rows[0] |= odd
    store(tables, rows)
    dataset(tables, CurateSettings(tasks=list(tasks)))
    checkpoint(tables)
    run_step(
        tables,
        lambda step: evaluate_checkpoint(step, tables, InProcess(), EvaluateSettings(), PredictSettings()),
        "evaluation",
        inputs=("llava_checkpoint",),
    )


def predicted(tables: Lake, *, retry_errors: bool = False, **settings: Any) -> Record:
    how = PredictSettings(batch_rows=7, batch_size=3, max_new_tokens=5, **settings)
    made = run_step(
        tables,
        lambda step: predict(step, tables, InProcess(), how, retry_errors=retry_errors),
        "batch_predictions",
        inputs=("image_table", "evaluation"),
    )
    return made["batch_predictions"]
