"""Train the checkpoint on the pinned examples, and register it by the digest of its files."""

from typing import Any

import lance

from mm_assets.chat import without_gaps
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.registry import TABLE, Model, find, get, recipe_digest, register_once
from mm_assets.engines.training.examples import Examples
from mm_assets.engines.training.run import fine_tune
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import TrainSettings
from mm_assets.splits import TRAIN, VALIDATION


def train_checkpoint(
    step: StepContext, lake: Lake, cluster: Cluster, settings: TrainSettings, *, force: bool
) -> StepResult:
    """Fine-tune on the pinned examples, unless a checkpoint of the same inputs and recipe exists.

    Raises:
        RefusalError: the training split is empty.
    """
    dataset, base = step.inputs["sft_dataset"], step.inputs["base_model"]
    recipe = {
        "kind": "checkpoint",
        "revision": step.code_versions["llava_checkpoint"],
        "sft_dataset": dataset.data_version,
        "base_model": base.metadata["digest"],
        "labels": dataset.metadata["labels"],
        # The number of examples is left out: the data version above decides it.
        "tasks": [{k: v for k, v in task.items() if k != "examples"} for task in dataset.metadata["tasks"]],
        **settings.recipe().model_dump(mode="json"),
    }
    model = find(lake, lake.open(TABLE), kind="checkpoint", recipe_digest=recipe_digest(recipe))
    if model is not None and not force:
        step.log(f"checkpoint {model.digest} has the same inputs and recipe: nothing to train")
        return register_once(step, lake, "llava_checkpoint", model)
    model = _trained(step, lake, cluster, settings, recipe)
    return register_once(step, lake, "llava_checkpoint", model)


def _trained(step: StepContext, lake: Lake, cluster: Cluster, settings: TrainSettings, recipe: dict[str, Any]) -> Model:
    dataset, base = step.inputs["sft_dataset"], get(lake, step.inputs["base_model"].metadata["digest"])
    image_ref = step.input_of(dataset, "image_table").ref
    images = LanceImages(lake, image_ref)
    examples = lake.open_at(dataset.ref)
    train, validation = (_split(examples, split, images) for split in (TRAIN, VALIDATION))
    if not len(train):
        raise RefusalError("sft_dataset has no example in the training split: add images and materialize it again")
    step.log(f"training on {len(train):,} examples for {settings.epochs} epochs, {len(validation):,} to validate")
    trained = fine_tune(cluster, lake, base.digest, train, validation, settings, step.log)
    metrics = dict(trained.metrics)
    return Model(
        digest=trained.digest,
        kind="checkpoint",
        name=f"{base.name}-lora",
        num_bytes=trained.num_bytes,
        inputs={**{name: item.data_version for name, item in step.inputs.items()}, "image_table": str(image_ref)},
        recipe=recipe,
        metrics={"train_examples": metrics.pop("examples"), **metrics},
    )


def _split(examples: lance.LanceDataset, split: str, images: LanceImages) -> Examples:
    rows = examples.to_table(columns=["example_id", "images", "messages"], filter=f"split = '{split}'")
    rows = rows.sort_by("example_id")  # the order must not depend on the order of the fragments
    ids = [[image["image_id"] for image in item] for item in rows["images"].to_pylist()]
    return Examples(ids, [without_gaps(messages) for messages in rows["messages"].to_pylist()], images)
