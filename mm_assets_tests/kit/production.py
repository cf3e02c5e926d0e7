"""A small lake with a model in production, or without one: what the bundle is made from."""

from typing import Any

import pytest

from mm_assets.engines.answering.questions import Answer
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.records import Record
from mm_assets.settings import CurateSettings, EvaluateSettings, PredictSettings, ServeSettings
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.evaluate.verdict import CHALLENGER, CHAMPION, Contest
from mm_assets.stages.serve.job import ASSET, bundle_production
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.small_lake import LABEL, checkpoint, dataset, photos, store
from mm_assets_tests.kit.steps import run_step
from mm_assets_tests.kit.two_rounds import training_of


def judged(tables: Lake, *, promoted: bool = True, seed: int = 1) -> Record:
    """Make a checkpoint and evaluate it; its answers are made up to be all right, or all wrong."""
    if not tables.exists("sft"):
        store(tables, photos())
        dataset(tables, CurateSettings(tasks=[LABEL]))
    checkpoint(tables, training=training_of(seed), code=str(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mm_assets.stages.evaluate.job._answers", lambda *given: _made_up(given[3], CHALLENGER if promoted else "")
        )
        made = run_step(
            tables,
            lambda step: evaluate_checkpoint(step, tables, InProcess(), EvaluateSettings(), PredictSettings()),
            "evaluation",
            inputs=("llava_checkpoint",),
        )
    return made["evaluation"]


def _made_up(contest: Contest, right: str) -> dict[str, dict[str, Answer]]:
    """Answers of one side that are all right, and of the other that are all wrong."""
    labels = dict(zip(contest.image_ids, contest.examples["label"].to_pylist(), strict=True))
    return {
        side: {name: Answer(name, label if side == right else "none", "said", 0.9) for name, label in labels.items()}
        for side in (CHALLENGER, CHAMPION)
    }


def bundled(tables: Lake, precision: str = "float32", code: str = "1", **settings: Any) -> Record:
    """Materialize the bundle."""
    made = run_step(
        tables,
        lambda step: bundle_production(step, tables, ServeSettings(**settings), precision),
        ASSET,
        inputs=("evaluation",),
        code=code,
    )
    return made[ASSET]
