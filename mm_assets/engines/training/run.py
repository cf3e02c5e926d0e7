"""The driver's side of a training: TRL's SFTTrainer with a PEFT adapter, under Ray Train's TorchTrainer."""

import os
from collections.abc import Callable
from typing import Any

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import training_storage
from mm_assets.engines.store.s3 import Secrets
from mm_assets.engines.training.examples import Examples, Trained, Training
from mm_assets.engines.workers.blocking import DriverMailbox, interruptible
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.settings import TrainSettings

# How often Ray Train takes what its workers report, one report at a time; at its 2 s short epochs wait for each other.
POLL = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
RETRIES = 2  # restarts of a worker group that died; it goes on from the last epoch's checkpoint


def fine_tune(
    cluster: Cluster,
    tables: Lake,
    base: str,
    train: Examples,
    validation: Examples,
    settings: TrainSettings,
    log: Callable[[str], None],
) -> Trained:
    """Fine-tune a base model, and put merged weights, processor and adapter into the lake under the files' digest.

    Args:
        cluster: trains.
        tables: the lake.
        base: digest of the base model.
        train: examples to learn.
        validation: examples to measure the loss on; may be empty.
        settings: recipe and resources.
        log: told about progress.

    Returns:
        Digest, bytes, and metrics: loss by step, validation loss, number of examples, seconds.
    """
    # A step whose checkpoint exists imports none of this (see docs/decisions/0003-lazy-imports.md).
    from ray.train import CheckpointConfig, FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    from mm_assets.engines.training.parallel import scaling

    os.environ.setdefault(*POLL)
    cluster.require(settings.workers, settings.resources)
    training = Training(tables, base, train, validation, settings, DriverMailbox(), Secrets.of_environment())
    with training_storage(tables) as (path, filesystem):
        trainer = TorchTrainer(
            _train,
            train_loop_config={"training": training},
            scaling_config=scaling(settings),
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
        # On an interrupt, leaving Ray ends the workers first. Then the storage that they write into is removed.
        interruptible(trainer.fit, training.mailbox, log, abandon=cluster.shutdown)
    return Trained(**training.mailbox.result())


def _train(config: dict[str, Any]) -> None:
    """What a Ray Train worker does; only there the training libraries are imported."""
    from mm_assets.engines.training.worker import train_worker

    train_worker(config)
