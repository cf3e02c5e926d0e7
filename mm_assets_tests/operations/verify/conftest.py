"""A whole lake in small: scored pictures, a dataset, a model, its evaluation and its predictions; without Ray."""

import shutil
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.settings import CurateSettings, EvaluateSettings, PredictSettings
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.predict.job import predict
from mm_assets_tests.kit.small_lake import LABEL, InProcess, checkpoint, dataset, photos, store
from mm_assets_tests.kit.steps import run_step


@pytest.fixture(scope="session")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    tables = Lake(str(tmp_path_factory.mktemp("whole") / "lake"))
    store(tables, photos())
    dataset(tables, CurateSettings(tasks=[LABEL]))
    build_after_dataset(tables)
    return tables


def build_after_dataset(tables: Lake) -> None:
    """The model, its evaluation and its predictions."""
    checkpoint(tables)
    judged = EvaluateSettings(min_accuracy=0.0)
    run_step(
        tables,
        lambda step: evaluate_checkpoint(step, tables, InProcess(), judged, PredictSettings()),
        "evaluation",
        inputs=("llava_checkpoint",),
    )
    run_step(
        tables,
        lambda step: predict(step, tables, InProcess(), PredictSettings(batch_rows=5)),
        "batch_predictions",
        inputs=("image_table", "evaluation"),
    )


@pytest.fixture
def whole(_whole: Lake, tmp_path: Path) -> Lake:
    """A copy that a test can spoil."""
    shutil.copytree(_whole.root, tmp_path / "whole")
    return Lake(str(tmp_path / "whole"))
