"""The one seam to training: TRL's SFTTrainer with a PEFT adapter, under Ray Train's TorchTrainer."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import ray.train
import torch
from peft import LoraConfig
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.huggingface.transformers import prepare_trainer
from ray.train.torch import TorchTrainer
from transformers import AutoModelForImageTextToText, PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from mm_assets.chat import Message
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep, local_folder, staging, training_storage
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.weights import name_keys_for_vllm
from mm_assets.engines.store.s3 import Secrets
from mm_assets.engines.workers.blocking import ProgressLine, interruptible
from mm_assets.engines.workers.cluster import Cluster, amounts
from mm_assets.settings import TrainSettings

RETRIES = 2  # of a worker group that died; it goes on from the last epoch's checkpoint
CHECKPOINT = "trainer"
LOG_EVERY_S = 5.0


@dataclass(frozen=True)
class Examples:
    """Chat examples of one split, their images by id at a pinned version."""

    image_ids: list[list[str]]
    messages: list[list[Message]]
    images: LanceImages

    def __len__(self) -> int:
        return len(self.image_ids)

    def as_dataset(self) -> datasets.Dataset:
        """A dataset that reads and decodes its images when a batch is asked for."""
        return datasets.Dataset.from_dict({"row": range(len(self))}).with_transform(self._read)

    def _read(self, batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        rows = batch["row"]
        return {
            "images": [self.images.read(self.image_ids[row]) for row in rows],
            "messages": [self.messages[row] for row in rows],
        }


@dataclass(frozen=True)
class Trained:
    """What a training gave: the digest and bytes of the files that it put into the lake, and its metrics."""

    digest: str
    num_bytes: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """Everything that a worker is told: where the base is, what to learn, how, and whom to tell."""

    tables: Lake
    base: str
    train: Examples
    validation: Examples
    settings: TrainSettings
    lines: ProgressLine
    secrets: Secrets


def fine_tune(
    cluster: Cluster,
    tables: Lake,
    base: str,
    train: Examples,
    validation: Examples,
    settings: TrainSettings,
    log: Callable[[str], None],
) -> Trained:
    """Fine-tune a base model and put merged weights, processor and adapter into the lake, by the digest of the files.

    Args:
        cluster: where.
        tables: the lake.
        base: digest of the base model.
        train: examples to learn.
        validation: examples to measure the loss on; may be empty.
        settings: recipe and resources.
        log: told about progress.

    Returns:
        Digest, bytes, and metrics: loss by step, validation loss, examples, seconds.
    """
    cluster.require(settings.workers, settings.resources)
    training = Training(tables, base, train, validation, settings, ProgressLine(), Secrets.of_environment())
    with training_storage(tables) as (path, filesystem):
        trainer = TorchTrainer(
            _train_worker,
            train_loop_config={"training": training},
            scaling_config=ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.resources.gpus > 0,
                resources_per_worker=amounts(settings.resources),
            ),
            run_config=RunConfig(
                storage_path=path,
                storage_filesystem=filesystem,
                name="sft",
                failure_config=FailureConfig(max_failures=RETRIES),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                # Ray Train's patched print breaks dill, and with it Dataset.with_transform.
                worker_runtime_env={"env_vars": {"RAY_TRAIN_ENABLE_PRINT_PATCH": "0", "HF_HUB_OFFLINE": "1"}},
            ),
        )
        # Leaving Ray ends the workers, before what they would still write into is removed.
        interruptible(trainer.fit, training.lines, log, abandon=cluster.shutdown)
    return Trained(**training.lines.result())


def _train_worker(config: dict[str, Any]) -> None:
    """What every Ray Train worker does; rank 0 writes the result, on whatever node it is."""
    training: Training = config["training"]
    training.secrets.restore()
    settings, train, validation = training.settings, training.train, training.validation
    started = time.monotonic()
    torch.set_num_threads(max(1, int(settings.resources.cpus)))
    set_seed(settings.seed)
    base_dir = local_folder(training.tables, training.base)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    processor = load_processor(base_dir)
    model = AutoModelForImageTextToText.from_pretrained(base_dir, dtype=dtype, local_files_only=True)
    with tempfile.TemporaryDirectory(prefix="mm-sft-") as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_arguments(settings, scratch),
            processing_class=processor,
            train_dataset=train.as_dataset(),
            eval_dataset=validation.as_dataset() if len(validation) else None,
            peft_config=_adapter(settings),
            callbacks=[_Reporter(training.lines)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer = prepare_trainer(trainer)
        with _last_checkpoint() as checkpoint:
            trainer.train(resume_from_checkpoint=checkpoint)
        steps = [entry for entry in trainer.state.log_history if "loss" in entry]  # of a resumed run, all of it
        losses = [{"step": entry["step"], "loss": round(float(entry["loss"]), 5)} for entry in steps]
        metrics: dict[str, Any] = {"examples": len(train), "loss": losses}
        if len(validation):
            metrics["validation_loss"] = round(trainer.evaluate()["eval_loss"], 5)
    if ray.train.get_context().get_world_rank() == 0:
        with staging(training.tables) as folder:
            _save(trainer.accelerator.unwrap_model(trainer.model), processor, training.base, folder)
            digest, num_bytes = keep(training.tables, folder)
        metrics["train_seconds"] = round(time.monotonic() - started, 2)
        training.lines.hand_over(asdict(Trained(digest, num_bytes, metrics)))
    ray.train.report({"epoch": settings.epochs})  # a barrier: nobody leaves before rank 0 has written


def _arguments(settings: TrainSettings, scratch: str) -> SFTConfig:
    return SFTConfig(
        output_dir=scratch,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_steps,
        optim="adamw_torch",
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=settings.precision == "bf16",
        use_cpu=not settings.resources.gpus,
        max_length=None,  # truncation would cut image tokens; the pre-flight held every example to the limit
        assistant_only_loss=True,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ddp_find_unused_parameters=True,
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=5,
        disable_tqdm=True,
        report_to=[],
    )


def _adapter(settings: TrainSettings) -> LoraConfig:
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        target_modules="all-linear",
        exclude_modules=settings.lora_exclude,
        modules_to_save=settings.modules_to_save or None,
        task_type="CAUSAL_LM",
    )


@contextmanager
def _last_checkpoint() -> Iterator[str | None]:
    """The folder of the last checkpoint, where this worker group replaces one that died; else None."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        yield None
    else:
        with checkpoint.as_directory() as folder:
            yield str(Path(folder, CHECKPOINT))


class _Reporter(TrainerCallback):
    """Says how far the training is, and hands each epoch's checkpoint to Ray Train."""

    def __init__(self, lines: ProgressLine) -> None:
        self._lines = lines
        self._started = self._said = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ANN401
        """Say step, loss, rate and time left now and then."""
        if "loss" not in logs or not state.is_world_process_zero:
            return
        now = time.monotonic()
        if now - self._said >= LOG_EVERY_S:
            self._said = now
            rate = state.global_step / (now - self._started)
            left = (state.max_steps - state.global_step) / rate
            line = f"step {state.global_step} of {state.max_steps}, loss {logs['loss']:.4f}, {rate:.2f} steps/s"
            self._lines.say(f"{line}, {left:,.0f} s left")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Report the checkpoint once, from rank 0; the other ranks only take part."""
        metrics = {"epoch": state.epoch}
        if not state.is_world_process_zero:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory(prefix="mm-ckpt-") as folder:
            newest = max(Path(args.output_dir).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[-1]))
            newest.rename(Path(folder, CHECKPOINT))
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _save(model: Any, processor: Any, base: str, output_dir: Path) -> None:  # noqa: ANN401  (a PEFT model)
    model.save_pretrained(output_dir / "adapter")
    _make_portable(output_dir / "adapter", base)
    merged = model.merge_and_unload()
    merged.save_pretrained(output_dir)
    processor.save_pretrained(output_dir)
    name_keys_for_vllm(output_dir)


def _make_portable(adapter_dir: Path, base: str) -> None:
    """Take out of an adapter's files what would differ between two equal trainings, or after the lake was moved.

    PEFT writes its sets in an order of chance, and the absolute path of the base model; here that is the digest under
    which the registry knows it.
    """
    (adapter_dir / "README.md").unlink(missing_ok=True)  # a template that names the path, and nothing else
    config = adapter_dir / "adapter_config.json"
    content = json.loads(config.read_text()) | {"base_model_name_or_path": base}
    ordered = {name: sorted(value) if isinstance(value, list) else value for name, value in content.items()}
    config.write_text(json.dumps(ordered, indent=2, sort_keys=True))
