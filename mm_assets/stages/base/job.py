"""Provide the base model: built in place or downloaded, and registered by the digest of its files."""

import json
import shutil
from pathlib import Path

from mm_assets.chat import MISTRAL_TEMPLATE
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, model_staging
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.registry import SCHEMA, TABLE, Model, find, recipe_digest, register_once
from mm_assets.history.opening import open_table
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.own_code import OwnCodeError, load
from mm_assets.settings import BaseModelSettings


def provide_base(step: StepContext, lake: Lake, settings: BaseModelSettings) -> StepResult:
    """Build or download the base model, unless the registry has one of the same recipe with its files.

    Raises:
        RefusalError: the builder cannot be loaded, or the model's chat template does not mark the assistant's tokens.
    """
    recipe = {"kind": "base", "revision": step.code_versions["base_model"], **settings.model_dump(mode="json")}
    ds = open_table(lake, step, TABLE, SCHEMA, ["base_model"])
    model = find(lake, ds, kind="base", recipe_digest=recipe_digest(recipe))
    if model is None:
        name = settings.model_id or settings.builder
        with model_staging(lake) as folder:
            _fetch_or_build(folder, settings)
            digest, num_bytes = keep_model(lake, folder)
        model = Model(digest, "base", name, num_bytes, inputs={}, recipe=recipe, metrics={})
    return register_once(step, lake, "base_model", model)


def _fetch_or_build(folder: Path, settings: BaseModelSettings) -> None:
    if settings.kind != "huggingface":
        try:
            build = load(settings.builder)
        except OwnCodeError as error:
            raise RefusalError(f"base.builder (MM_BASE__BUILDER): {error}") from error
        build(folder, settings.seed)
    else:
        from huggingface_hub import snapshot_download

        # The card names the license, which the cards of bundles repeat.
        patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "README.md"]
        snapshot_download(settings.model_id, revision=settings.revision, local_dir=folder, allow_patterns=patterns)
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
