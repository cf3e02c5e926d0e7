"""The graph with `predict.engine: vllm`, and its engine killed at work."""

import io
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from mm_assets.demo.pictures import AREAS, draw_area
from mm_assets.engines.answering.vllm import pipeline as vllm_pipeline
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, local_folder, model_staging
from mm_assets.engines.training.examples import Trained
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.records import Record
from mm_assets.settings import CurateSettings, EvaluateSettings, PredictSettings, TaskSettings, VllmSettings
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.predict import job
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.project import Project, failure_of
from mm_assets_tests.kit.ray_nodes import below
from mm_assets_tests.kit.small_lake import checkpoint, dataset, store
from mm_assets_tests.kit.steps import run_step
from mm_assets_tests.kit.vllm_lab import NEEDS_VLLM

pytestmark = [pytest.mark.vllm, pytest.mark.ray, NEEDS_VLLM]

# Enough that much is left to do when engines are killed.
PICTURES, BATCH, BLOCK_BYTES = 1200, 120, 2**19


def lake(tables: Lake, finished: Project) -> None:
    """So many distinct pictures, the last of them broken, and the finished lake's checkpoint; few have a label."""
    trained = finished.newest()["llava_checkpoint"].metadata["digest"]
    rng = np.random.default_rng(2)
    labels = random.Random(3).choices(sorted(AREAS), k=PICTURES)
    rows: list[dict[str, Any]] = [
        {"image_id": f"{number}.png", "label": label if number < 200 else None, "image": png(draw_area(label, rng))}
        for number, label in enumerate(labels)
    ]
    rows[-1] |= {"image": b"no image"}
    store(tables, rows)
    words = "Fill in the blank: this is a photo of a {}"
    task = TaskSettings(task="label", prompt=words, answer="this is a photo of a {label}.")
    dataset(tables, CurateSettings(tasks=[task]))

    def copied(*arguments: Any) -> Trained:
        with model_staging(tables) as folder:
            shutil.copytree(local_folder(finished.tables, trained), folder, dirs_exist_ok=True)
            return Trained(*keep_model(tables, folder), {"examples": 1})

    checkpoint(tables, training=copied)
    run_step(
        tables,
        lambda step: evaluate_checkpoint(step, tables, InProcess(), EvaluateSettings(), PredictSettings()),
        "evaluation",
        inputs=("llava_checkpoint",),
    )


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def predicted(tables: Lake, cluster: Cluster) -> Record:
    how = PredictSettings(engine="vllm", batch_rows=BATCH, batch_size=40, vllm=VllmSettings(max_model_len=256))
    made = run_step(
        tables,
        lambda step: job.predict(step, tables, cluster, how),
        "batch_predictions",
        inputs=("image_table", "evaluation"),
    )
    return made["batch_predictions"]


def answers(tables: Lake) -> dict[str, tuple[str | None, str | None]]:
    """Label and reason of an error, by image; each has one row."""
    rows = tables.open("predictions").to_table(columns=["image_id", "label", "error"]).to_pylist()
    assert len(rows) == len({row["image_id"] for row in rows}) == PICTURES
    return {row["image_id"]: (row["label"], row["error"]) for row in rows}


def test_an_engine_that_dies_loses_nothing_and_doubles_nothing(
    finished: Project, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Lake(str(tmp_path / "one")), Lake(str(tmp_path / "other"))
    lake(one, finished)
    shutil.copytree(one.root, other.root)
    assert predicted(one, cluster).metadata["rows_failed"] == 1
    expected = answers(one)
    assert len(set(expected.values())) == len(AREAS) + 1

    commit = job._commit
    killed: list[int] = []

    def killing(*arguments: Any) -> int:
        version = commit(*arguments)
        working = [engine for engine in below(psutil.Process(), "VllmAnswerer") if engine.pid not in killed]
        if len(killed) < 2 and working:
            working[0].kill()
            killed.append(working[0].pid)
        return version

    monkeypatch.setattr(job, "_commit", killing)
    monkeypatch.setattr(vllm_pipeline, "BLOCK_BYTES", BLOCK_BYTES)
    said = predicted(other, cluster).metadata
    assert len(killed) == 2
    assert (said["rows_computed"], said["rows_failed"]) == (PICTURES, 1)
    assert answers(other) == expected


def test_engines_leave_a_cpu_to_renderers(finished: Project, cluster: Cluster, copy: Project) -> None:
    copy.env |= {"MM_PREDICT__ENGINE": "vllm", "MM_PREDICT__RESOURCES__CPUS": str(cluster.cpus())}
    result = copy.materialize("batch_predictions", fails=True)
    assert "leave 0 of the Ray cluster's" in failure_of(result)
    assert "lower predict.renderers, predict.actors or predict.resources.cpus" in failure_of(result)
