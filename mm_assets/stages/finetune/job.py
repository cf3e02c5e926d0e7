"""Provide the base model; train the checkpoint on the pinned examples; register both by the digest of their files."""

import json
import shutil
from pathlib import Path
from typing import Any

import lance

from mm_assets.chat import MISTRAL_TEMPLATE, without_gaps
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep, staging
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.registry import SCHEMA, TABLE, Model, find, get, recipe_digest, register
from mm_assets.engines.training.examples import Examples
from mm_assets.engines.training.run import fine_tune
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.own_code import OwnCodeError, load
from mm_assets.settings import BaseModelSettings, TrainSettings
from mm_assets.splits import TRAIN, VALIDATION


def provide_base(step: StepContext, tables: Lake, settings: BaseModelSettings) -> StepResult:
    """Build or download the base model, unless the registry has one of the same recipe and its files are there.

    Raises:
        RefusalError: the model's own chat template cannot tell the assistant's tokens.
    """
    recipe = {"kind": "base", "revision": step.code_versions["base_model"], **settings.model_dump(mode="json")}
    ds = tables.open_or_create(TABLE, SCHEMA, step.properties(["base_model"], 0))
    model = find(tables, ds, kind="base", recipe_digest=recipe_digest(recipe))
    if model is None:
        name = settings.model_id or settings.builder
        with staging(tables) as folder:
            _fetch_or_build(folder, settings)
            digest, num_bytes = keep(tables, folder)
        model = Model(digest, "base", name, num_bytes, inputs={}, recipe=recipe, metrics={})
    return _registered(step, tables, "base_model", model)


def _registered(step: StepContext, tables: Lake, asset: str, model: Model) -> StepResult:
    """Make the asset's newest commit name this model; no commit where it does already, and the registry has it."""
    final = StepResult(
        {"rows": 1, "digest": model.digest, "name": model.name, "num_bytes": model.num_bytes, **model.metrics}
    )
    before = step.last_record(asset)
    registered = find(tables, tables.open(TABLE), digest=model.digest) is not None
    if before is None or before.metadata["digest"] != model.digest or not registered:
        register(tables, model, step.run_id, step.properties([asset], 1, {asset: final}))
    return final


def _fetch_or_build(folder: Path, settings: BaseModelSettings) -> None:
    if settings.kind != "huggingface":
        try:
            build = load(settings.builder)
        except OwnCodeError as error:
            raise RefusalError(f"base.builder (MM_BASE__BUILDER): {error}") from error
        build(folder, settings.seed)
    else:
        from huggingface_hub import snapshot_download

        # The card tells the license, which goes on to what is made from the model.
        wanted = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "README.md"]
        snapshot_download(settings.model_id, revision=settings.revision, local_dir=folder, allow_patterns=wanted)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the download's own notes, with times in them
    if settings.chat_template == "mistral":
        _put_template(folder)
    if "generation" not in (load_processor(folder).chat_template or ""):
        raise RefusalError(
            "base.chat_template (MM_BASE__CHAT_TEMPLATE): the model's own template has no {% generation %} marks, so "
            "the loss could not tell the assistant's tokens: set it to mistral"
        )


def _put_template(folder: Path) -> None:
    # The hub's own template has no generation marks, so the loss could not tell the assistant's tokens.
    (folder / "chat_template.json").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(MISTRAL_TEMPLATE)
    for name in ("processor_config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            config = json.loads(path.read_text())
            config.pop("chat_template", None)
            path.write_text(json.dumps(config, indent=2))


def train_checkpoint(
    step: StepContext, tables: Lake, cluster: Cluster, settings: TrainSettings, *, force: bool
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
        # How many examples there are is the dataset's business: its data version is named above.
        "tasks": [{k: v for k, v in task.items() if k != "examples"} for task in dataset.metadata["tasks"]],
        **settings.recipe().model_dump(mode="json"),
    }
    model = find(tables, tables.open(TABLE), kind="checkpoint", recipe_digest=recipe_digest(recipe))
    if model is not None and not force:
        step.log(f"checkpoint {model.digest} has the same inputs and recipe: nothing to train")
        return _registered(step, tables, "llava_checkpoint", model)
    model = _trained(step, tables, cluster, settings, recipe)
    return _registered(step, tables, "llava_checkpoint", model)


def _trained(
    step: StepContext, tables: Lake, cluster: Cluster, settings: TrainSettings, recipe: dict[str, Any]
) -> Model:
    dataset, base = step.inputs["sft_dataset"], get(tables, step.inputs["base_model"].metadata["digest"])
    image_ref = step.input_of(dataset, "image_table").ref
    images = LanceImages(tables, image_ref)
    examples = tables.open_at(dataset.ref)
    train, validation = (_split(examples, split, images) for split in (TRAIN, VALIDATION))
    if not len(train):
        raise RefusalError("sft_dataset has no example in the training split: add images and materialize it again")
    step.log(f"training on {len(train):,} examples for {settings.epochs} epochs, {len(validation):,} to validate")
    found = fine_tune(cluster, tables, base.digest, train, validation, settings, step.log)
    metrics = dict(found.metrics)
    return Model(
        digest=found.digest,
        kind="checkpoint",
        name=f"{base.name}-lora",
        num_bytes=found.num_bytes,
        inputs={**{name: item.data_version for name, item in step.inputs.items()}, "image_table": str(image_ref)},
        recipe=recipe,
        metrics={"train_examples": metrics.pop("examples"), **metrics},
    )


def _split(examples: lance.LanceDataset, split: str, images: LanceImages) -> Examples:
    rows = examples.to_table(columns=["example_id", "images", "messages"], filter=f"split = '{split}'")
    rows = rows.sort_by("example_id")  # the order must not depend on how fragments came about
    ids = [[image["image_id"] for image in item] for item in rows["images"].to_pylist()]
    return Examples(ids, [without_gaps(messages) for messages in rows["messages"].to_pylist()], images)
