"""The whole graph over a folder of pictures, step by step and in this process: real jobs, nothing learned."""

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mm_assets.demo.pictures import draw_area
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, model_staging
from mm_assets.engines.training.examples import Trained
from mm_assets.lineage.records import Record
from mm_assets.settings import CurateSettings, EvaluateSettings, PredictSettings, ScoreSettings
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.predict.job import predict
from mm_assets.stages.score.grouping import NEAR_DUPLICATES, group_duplicates
from mm_assets.stages.score.job import compute_scores
from mm_assets.stages.score.registry import all_scorers
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.small_lake import LABEL, checkpoint, dataset
from mm_assets_tests.kit.steps import ingest, run_step

# The twin is byte for byte the other one; the changed and the removed one are so in the second round.
TWIN, ORIGINAL = "pool/a copy of 0.png", "pool/0.png"
CHANGED, REMOVED, BROKEN, ADDED = "pool/1.png", "pool/2.png", "gym/broken.png", "pool/new.png"


def draw(label: str, seed: int) -> bytes:
    stream = io.BytesIO()
    draw_area(label, np.random.default_rng(seed)).save(stream, "PNG")
    return stream.getvalue()


def first_pictures(folder: Path) -> None:
    """Twelve pictures of each of two labels, a copy of one of them, and a file that is no picture."""
    for place, label in enumerate(("gym", "pool")):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            (folder / label / f"{number}.png").write_bytes(draw(label, 100 * place + number))
    shutil.copy(folder / ORIGINAL, folder / TWIN)
    (folder / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n broken")


def change_pictures(folder: Path) -> None:
    """Another picture in the place of one, one removed, one added."""
    (folder / CHANGED).write_bytes(draw("pool", 990))
    (folder / REMOVED).unlink()
    (folder / ADDED).write_bytes(draw("pool", 991))


def refresh(tables: Lake, folder: Path, seed: int) -> dict[str, Record]:
    """Materialize every asset; `seed` is that of the model which stands for the trained one."""
    cluster, how = InProcess(), ScoreSettings(error_budget=1)
    scorers = list(all_scorers(how).values())
    listed, stored = ingest(tables, cluster, folder, error_budget=1)
    made = run_step(
        tables,
        lambda step: compute_scores(step, tables, cluster, scorers, how),
        *(scorer.asset for scorer in scorers),
        inputs=("image_table",),
    )
    made |= run_step(tables, lambda step: group_duplicates(step, tables, 0), NEAR_DUPLICATES, inputs=("scores/phash",))
    made |= {"raw_images": listed, "image_table": stored}
    made["sft_dataset"] = dataset(tables, CurateSettings(tasks=[LABEL]))
    made["llava_checkpoint"] = checkpoint(tables, training=training_of(seed))
    answering = PredictSettings(model="latest")
    made |= run_step(
        tables,
        lambda step: evaluate_checkpoint(step, tables, cluster, EvaluateSettings(), answering),
        "evaluation",
        inputs=("llava_checkpoint",),
    )
    made |= run_step(
        tables,
        lambda step: predict(step, tables, cluster, answering),
        "batch_predictions",
        inputs=("image_table", "evaluation"),
    )
    return made


def training_of(seed: int) -> Any:
    """In place of `fine_tune`: a model of random weights, another for each seed."""

    def train(*arguments: Any) -> Trained:
        tables: Lake = arguments[1]
        with model_staging(tables) as folder:
            build(folder, seed=seed)
            return Trained(*keep_model(tables, folder), {"examples": len(arguments[3])})

    return train


@dataclass(frozen=True)
class Rounds:
    """The lake, the folder that it was made from, and what each round materialized, by asset."""

    tables: Lake
    folder: Path
    first: dict[str, Record]
    second: dict[str, Record]
