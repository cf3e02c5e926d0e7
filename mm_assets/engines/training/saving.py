"""The files of a training: a checkpoint after each epoch, to resume from, and the model at the end."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint

from mm_assets.engines.models.weights import name_keys_for_vllm

CHECKPOINT = "trainer"  # the trainer's own folder, inside a checkpoint of Ray Train


def report_checkpoint(written_to: Path, metrics: dict[str, Any]) -> None:
    """Report the trainer's newest checkpoint to Ray Train."""
    with tempfile.TemporaryDirectory(prefix="mm-ckpt-") as folder:
        newest = max(written_to.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[-1]))
        newest.rename(Path(folder, CHECKPOINT))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


@contextmanager
def last_checkpoint() -> Iterator[str | None]:
    """The folder of the last checkpoint where this worker group replaces one that died, or None."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        yield None
    else:
        with checkpoint.as_directory() as folder:
            yield str(Path(folder, CHECKPOINT))


def save(model: Any, processor: Any, base: str, folder: Path) -> None:  # noqa: ANN401  (a PEFT model)
    """Write the adapter, the weights merged with it, and the processor.

    Args:
        model: trained, with its adapter.
        processor: of the base model.
        base: digest of the base model.
        folder: to write into.
    """
    model.save_pretrained(folder / "adapter")
    _make_portable(folder / "adapter", base)
    model.merge_and_unload().save_pretrained(folder)
    processor.save_pretrained(folder)
    name_keys_for_vllm(folder)


def _make_portable(adapter_dir: Path, base: str) -> None:
    """Make an adapter's files equal for two equal trainings, and independent of the lake's path.

    PEFT writes its sets in a random order; here they are sorted. It writes the absolute path of the base model; here
    the model's digest in the registry replaces it.
    """
    (adapter_dir / "README.md").unlink(missing_ok=True)  # a template whose only content is the path
    config = adapter_dir / "adapter_config.json"
    content = json.loads(config.read_text()) | {"base_model_name_or_path": base}
    ordered = {name: sorted(value) if isinstance(value, list) else value for name, value in content.items()}
    config.write_text(json.dumps(ordered, indent=2, sort_keys=True))
