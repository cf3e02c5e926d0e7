"""Provide the base model; train the checkpoint on the pinned examples; register both by the digest of their files."""

import json
import shutil
from pathlib import Path
from typing import Any

import lance

from mm_assets.chat import MISTRAL_TEMPLATE, without_gaps
from mm_assets.curate.splits import TRAIN, VALIDATION
from mm_assets.curate.tables import SFT
from mm_assets.engines.lance_images import LanceImages
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.model_store import SCHEMA, TABLE, Model, find, keep, recipe_digest, register, staging
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.engines.trainer import Examples, fine_tune
from mm_assets.lineage.refs import Final, RefusalError, Step
from mm_assets.settings import BaseModelSettings, TrainSettings


def provide_base(step: Step, tables: LakeTables, settings: BaseModelSettings) -> Final:
    """Build or download the base model, unless the registry has one of the same recipe and its files are there."""
    recipe = {"kind": "base", "revision": step.code_versions["base_model"], **settings.model_dump(mode="json")}
    ds = tables.open_or_create(TABLE, SCHEMA, step.properties(["base_model"], 0))
    model = find(tables, ds, kind="base", recipe_digest=recipe_digest(recipe))
    if model is None:
        name = settings.model_id or "tiny-llava-next"
        with staging(tables) as folder:
            _fetch_or_build(folder, settings)
            model = keep(tables, folder, "base", name, recipe, {})
        final = _described(tables, model)
        register(tables, ds, model, step.run_id, step.properties(["base_model"], 1, {"base_model": final}))
    return _described(tables, model)


def _fetch_or_build(folder: Path, settings: BaseModelSettings) -> None:
    if settings.kind == "tiny":
        from mm_assets.demo.tiny_llava import build

        build(folder, settings.seed)
    else:
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
        snapshot_download(settings.model_id, revision=settings.revision, local_dir=folder, allow_patterns=wanted)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the download's own notes, with times in them
    if settings.chat_template == "mistral":
        _put_template(folder)


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


def _described(tables: LakeTables, model: Model) -> Final:
    return Final({"rows": 1, "digest": model.digest, "name": model.name, "num_bytes": model.num_bytes, **model.metrics})


def train_checkpoint(
    step: Step, tables: LakeTables, cluster: Cluster, settings: TrainSettings, *, force: bool
) -> Final:
    """Fine-tune on the pinned examples, unless a checkpoint of the same inputs and recipe exists.

    Raises:
        RefusalError: the training split is empty.
    """
    dataset, base = step.inputs["sft_dataset"], step.inputs["base_model"]
    recipe = {
        "kind": "checkpoint",
        "revision": step.code_versions["llava_checkpoint"],
        "sft_dataset": dataset.data_version,
        "images": step.input_of(dataset, "image_table").data_version,
        "base_model": base.metadata["digest"],
        "labels": dataset.metadata["labels"],
        "prompt": dataset.metadata["prompt"],
        "answer": dataset.metadata["answer"],
        **settings.model_dump(mode="json"),
    }
    ds = tables.open(TABLE)
    model = None if force else find(tables, ds, kind="checkpoint", recipe_digest=recipe_digest(recipe))
    if model is not None:
        step.log(f"checkpoint {model.digest} has the same inputs and recipe: nothing to train")
        if step.own["llava_checkpoint"].ref is not None:
            return _described(tables, model)
    else:
        model = _trained(step, tables, cluster, settings, recipe)
    final = _described(tables, model)
    properties = step.properties(["llava_checkpoint"], 1, {"llava_checkpoint": final})
    register(tables, tables.open(TABLE), model, step.run_id, properties)
    return final


def _trained(
    step: Step, tables: LakeTables, cluster: Cluster, settings: TrainSettings, recipe: dict[str, Any]
) -> Model:
    dataset, base = step.inputs["sft_dataset"], step.inputs["base_model"]
    images = LanceImages(tables, step.input_of(dataset, "image_table").ref.version)
    examples = tables.open(SFT, dataset.ref.version)
    train, validation = (_split(examples, split, images) for split in (TRAIN, VALIDATION))
    if not len(train):
        raise RefusalError("sft_dataset has no example in the training split: add images and materialize it again")
    step.log(f"training on {len(train):,} examples for {settings.epochs} epochs, {len(validation):,} to validate")
    with staging(tables) as folder:
        base_dir = tables.model_dir(base.metadata["digest"])
        found = fine_tune(cluster, base_dir, folder, train, validation, settings, step.log)
        (folder / "training.json").unlink()  # its seconds would make two equal trainings differ in digest
        metrics = {"train_examples": found.pop("examples"), **found}
        return keep(tables, folder, "checkpoint", f"{base.metadata['name']}-lora", recipe, metrics)


def _split(examples: lance.LanceDataset, split: str, images: LanceImages) -> Examples:
    rows = examples.to_table(columns=["example_id", "images", "messages"], filter=f"split = '{split}'")
    rows = rows.sort_by("example_id")  # the order must not depend on how fragments came about
    ids = [[image["image_id"] for image in item] for item in rows["images"].to_pylist()]
    return Examples(ids, [without_gaps(messages) for messages in rows["messages"].to_pylist()], images)
