"""The trainer's callback: it reports progress to the driver, and each epoch's checkpoint to Ray Train."""

import time
from pathlib import Path
from typing import Any

import ray.train
from transformers import TrainerCallback

from mm_assets.engines.training.saving import report_checkpoint
from mm_assets.engines.workers.blocking import DriverMailbox

LOG_EVERY_S = 5.0


class Reporter(TrainerCallback):
    """Logs progress in the driver, and hands each epoch's checkpoint to Ray Train.

    Args:
        mailbox: of the driver.
    """

    def __init__(self, mailbox: DriverMailbox) -> None:
        self._mailbox = mailbox
        self._started = self._logged = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ANN401
        """Log step, loss, rate and time left, at most every `LOG_EVERY_S`."""
        if "loss" not in logs or not state.is_world_process_zero:
            return
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            rate = state.global_step / (now - self._started)
            left = (state.max_steps - state.global_step) / rate
            line = f"step {state.global_step} of {state.max_steps}, loss {logs['loss']:.4f}, {rate:.2f} steps/s"
            self._mailbox.log(f"{line}, {left:,.0f} s left")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Report the checkpoint once, from rank 0; the other ranks report without one."""
        metrics = {"epoch": state.epoch}
        if state.is_world_process_zero:
            report_checkpoint(Path(args.output_dir), metrics)
        else:
            ray.train.report(metrics)
