"""The resources of a training: workers, devices, precision."""

from typing import Any

import torch
from ray.train import ScalingConfig

from mm_assets.engines.workers.cluster import amounts
from mm_assets.settings import TrainSettings


def scaling(settings: TrainSettings) -> ScalingConfig:
    """The workers that Ray Train starts, with their resources; several train as DistributedDataParallel."""
    return ScalingConfig(
        num_workers=settings.workers,
        use_gpu=settings.resources.gpus > 0,
        resources_per_worker=amounts(settings.resources),
    )


def use_cpus(settings: TrainSettings) -> None:
    """Let torch compute in as many threads as the worker has CPUs."""
    torch.set_num_threads(max(1, int(settings.resources.cpus)))


def dtype_of(settings: TrainSettings) -> torch.dtype:
    """The precision of the loaded weights."""
    return torch.bfloat16 if settings.precision == "bf16" else torch.float32


def devices(settings: TrainSettings) -> dict[str, Any]:
    """The trainer's arguments for device and precision."""
    return {"bf16": settings.precision == "bf16", "use_cpu": not settings.resources.gpus}
