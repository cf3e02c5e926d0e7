"""The work of a Ray Train worker: load the base model, train it, and on rank 0 save the result."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import ray.train
from ray.train.huggingface.transformers import prepare_trainer
from transformers import AutoModelForImageTextToText, PrinterCallback, set_seed
from trl import SFTTrainer

from mm_assets.engines.models.files import keep_model, local_folder, model_staging
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.training.examples import Trained, Training
from mm_assets.engines.training.families import family_of
from mm_assets.engines.training.parallel import dtype_of, use_cpus
from mm_assets.engines.training.recipe import adapter, arguments
from mm_assets.engines.training.reporting import Reporter
from mm_assets.engines.training.saving import last_checkpoint, save


def train_worker(config: Mapping[str, Any]) -> None:
    """Train; rank 0 saves the result, on its own node.

    Args:
        config: has the key `training`, a `Training`.
    """
    training: Training = config["training"]
    training.secrets.restore()
    started = time.monotonic()
    use_cpus(training.settings)
    set_seed(training.settings.seed)
    with tempfile.TemporaryDirectory(prefix="mm-sft-") as scratch:
        trainer = _trainer(training, scratch)
        with last_checkpoint() as checkpoint:
            trainer.train(resume_from_checkpoint=checkpoint)
        metrics = _metrics(trainer, training)
    if ray.train.get_context().get_world_rank() == 0:
        with model_staging(training.tables) as folder:
            model = trainer.accelerator.unwrap_model(trainer.model)
            save(model, trainer.processing_class, training.base, folder)
            digest, num_bytes = keep_model(training.tables, folder)
        metrics["train_seconds"] = round(time.monotonic() - started, 2)
        training.mailbox.hand_over(asdict(Trained(digest, num_bytes, metrics)))
    ray.train.report({"epoch": training.settings.epochs})  # a barrier: no worker leaves before rank 0 has saved


def _trainer(training: Training, scratch: str) -> SFTTrainer:
    settings, validation = training.settings, training.validation
    base_dir = local_folder(training.tables, training.base)
    processor = load_processor(base_dir)
    model = AutoModelForImageTextToText.from_pretrained(base_dir, dtype=dtype_of(settings), local_files_only=True)
    family = family_of(model.config.model_type)
    trainer = SFTTrainer(
        model=model,
        args=arguments(settings, family, scratch),
        processing_class=processor,
        train_dataset=training.train.as_dataset(),
        eval_dataset=validation.as_dataset() if len(validation) else None,
        peft_config=adapter(settings, family),
        callbacks=[Reporter(training.mailbox)],
    )
    trainer.remove_callback(PrinterCallback)
    return prepare_trainer(trainer)


def _metrics(trainer: SFTTrainer, training: Training) -> dict[str, Any]:
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]  # a resumed run has its whole history
    losses = [{"step": entry["step"], "loss": round(float(entry["loss"]), 5)} for entry in steps]
    metrics: dict[str, Any] = {"examples": len(training.train), "loss": losses}
    if len(training.validation):
        metrics["validation_loss"] = round(trainer.evaluate()["eval_loss"], 5)
    return metrics
