"""Run the jobs without Dagster: what a step pins is looked up in the lake, what it wrote is recorded there."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mm_assets.engines.lake.tables import Lake
from mm_assets.history.begin import StepRequest, begin
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult

Job = Callable[[StepContext], StepResult | dict[str, StepResult]]


def run_step(tables: Lake, job: Job, *assets: str, inputs: tuple[str, ...] = ()) -> dict[str, Record]:
    """Run a job as the step of `assets`, with the newest version of each input pinned, and record what it wrote."""
    request = StepRequest(uuid.uuid4().hex, assets[0], dict.fromkeys(assets, "1"), inputs, log=lambda _: None)
    step = begin(tables, request)
    outcome = job(step.context)
    results = {assets[0]: outcome} if isinstance(outcome, StepResult) else outcome
    return {asset: step.publish(asset, result) for asset, result in results.items()}


@contextmanager
def local_ray(start: bool) -> Iterator[None]:
    """A Ray cluster on this machine with its defaults, or the one that runs already, for what needs no project."""
    import ray

    if not start or ray.is_initialized():
        yield
        return
    ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()
