"""A lake of a few captioned pictures, scored by hand: what the stages after scoring read, without Ray."""

import hashlib
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from mm_assets.demo.pictures import draw_area
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.models.files import keep_model, model_staging
from mm_assets.engines.training.examples import Trained
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.scoring import Scorer
from mm_assets.settings import (
    BaseModelSettings,
    ChecksSettings,
    CurateSettings,
    EvaluateSettings,
    PredictSettings,
    ScoreSettings,
    TaskSettings,
    TrainSettings,
)
from mm_assets.splits import TEST, TRAIN, VALIDATION, split_of
from mm_assets.stages.base.job import provide_base
from mm_assets.stages.curate.job import build_dataset
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.finetune.job import train_checkpoint
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.job import predict
from mm_assets.stages.score.grouping import NEAR_DUPLICATES
from mm_assets.stages.score.registry import all_scorers
from mm_assets.stages.score.tables import GROUP_FIELDS
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.steps import run_step

LABEL = TaskSettings(task="label", prompt="what is it?", answer="a {label}.")
CAPTION = TaskSettings(task="caption", prompt="describe it", answer="{caption}")
TRAINING = TrainSettings(epochs=1, batch_size=4, learning_rate=1e-3)
SCORERS = all_scorers(ScoreSettings())
BUILT_IN = [SCORERS[name] for name in ("sharpness", "exposure", "entropy")]


def names(split: str, count: int) -> list[str]:
    """Ids of images that belong to a split."""
    found = (f"{split}-{number}.png" for number in range(1000))
    return [name for name in found if split_of(name) == split][:count]


def photos(captions: Mapping[str, str] = MappingProxyType({})) -> list[dict[str, Any]]:
    """Sixteen pictures of two labels, with captions (those given by id, or others): six to train on, eight to hold out.

    Two are to validate with: a dataset without a split is not published.
    """
    ids = [*names(TRAIN, 6), *names(VALIDATION, 2), *names(TEST, 8)]
    labels = ["pool", "Terrace/Patio"] * 8
    return [
        {"image_id": name, "label": label, "caption": captions.get(name, f"There is a {label} {name[:-4]}.")}
        for name, label in zip(ids, labels, strict=True)
    ]


def store(tables: Lake, rows: list[dict[str, Any]], scorers: Sequence[Scorer] = BUILT_IN) -> None:
    """Publish rows as what ingest and scoring leave behind; a row may hold any column, the rest is made up."""
    scored = pa.schema([*IMAGES_SCHEMA, *(field for scorer in scorers for field in scorer.fields()), *GROUP_FIELDS])
    assets = ["image_table", *(scorer.asset for scorer in scorers), NEAR_DUPLICATES]

    def job(step: StepContext) -> dict[str, StepResult]:
        finals = {asset: StepResult({"rows": len(rows)}) for asset in assets}
        tables.open_or_create(IMAGES, scored, step.properties(assets, 0))
        whole = [_row(row, scorers) for row in rows]
        columns = {name: [row.get(name) for row in whole] for name in scored.names}
        table = pa.table({**columns, "image": lance.blob_array(columns["image"])}, schema=scored)
        fragments = write_fragments(tables, IMAGES, table)
        commit(
            tables, IMAGES, lambda ds: replace_rows(ds, "image_id", [], fragments), step.properties(assets, 1, finals)
        )
        return finals

    run_step(tables, job, *assets)


def _row(row: dict[str, Any], scorers: Sequence[Scorer]) -> dict[str, Any]:
    name = row["image_id"]
    file = io.BytesIO()
    draw_area("pool", np.random.default_rng(zlib.crc32(name.encode()))).save(file, "PNG")
    data = row.get("image", file.getvalue())
    scores = {"sharpness": 50.0, "luminance": 100.0, "clipped": 0.1, "entropy": 5.0}
    state = {scorer.rev_column: "1" for scorer in scorers}
    groups = {"group_id": name, "first_group_id": name, "near_duplicates_rev": "1"}
    image = {"image": data, "sha256": hashlib.sha256(data or b"").hexdigest(), "num_bytes": len(data or b"")}
    size = {"width": 96, "height": 96}
    return {**scores, **state, **groups, **image, **size, **row}


def dataset(
    tables: Lake,
    settings: CurateSettings,
    scorers: Sequence[Scorer] = BUILT_IN,
    checks: ChecksSettings = ChecksSettings(),  # noqa: B008  (frozen)
) -> Record:
    """Materialize the base model and the dataset."""
    run_step(tables, lambda step: provide_base(step, tables, BaseModelSettings(kind="built")), "base_model")
    inputs = ("image_table", *(scorer.asset for scorer in scorers), NEAR_DUPLICATES, "base_model")
    offered = [*SCORERS.values(), *(scorer for scorer in scorers if scorer.name not in SCORERS)]
    made = run_step(
        tables,
        lambda step: build_dataset(step, tables, settings, offered, checks),
        "sft_dataset",
        inputs=inputs,
        code=settings.model_dump_json(),
    )
    return made["sft_dataset"]


def untrained(*arguments: Any) -> Trained:
    """In place of `fine_tune`: another model of random weights."""
    tables: Lake = arguments[1]
    with model_staging(tables) as folder:
        build(folder, seed=1)
        return Trained(*keep_model(tables, folder), {"examples": len(arguments[3])})


def checkpoint(
    tables: Lake,
    settings: TrainSettings = TRAINING,
    training: Callable[..., Trained] = untrained,
    code: str = "1",
) -> Record:
    """Materialize the checkpoint, with something quick in place of the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mm_assets.stages.finetune.job.fine_tune", training)
        made = run_step(
            tables,
            lambda step: train_checkpoint(step, tables, InProcess(), settings, force=False),
            "llava_checkpoint",
            inputs=("sft_dataset", "base_model"),
            code=code,
        )
    return made["llava_checkpoint"]


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
