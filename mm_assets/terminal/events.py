"""Dagster's log of a run as calls of what shows it: steps that start, assets that are made, checks, failures."""

import logging
import re
import time
from typing import Protocol

import dagster as dg

from mm_assets.steps.dagster_private import logged_line

# As `Pace` writes it, and a training.
PACE = re.compile(r"^(?:step )?([\d,]+) of ([\d,]+)\b.* s left$")


class Watcher(Protocol):
    """Shows a run."""

    def started(self, step: str) -> None:
        """A step has started."""

    def progress(self, step: str, text: str, done: int | None = None, total: int | None = None) -> None:
        """A step says what it does; numbers where it counts."""

    def materialized(self, asset: str, version: str, rows: int, seconds: float, *, reused: bool) -> None:
        """An asset was materialized, so many seconds after its step had started."""

    def warned(self, asset: str, check: str, sentence: str) -> None:
        """A check did not pass."""

    def failed(self, step: str, sentence: str) -> None:
        """A step failed."""

    def ended(self, step: str) -> None:
        """A step is over, however it ended."""


class EventHandler(logging.Handler):
    """Takes what Dagster logs of a run, and tells a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or one event."""
        line = logged_line(record)
        if line.event is not None:
            self._event(line.event)
        elif line.step is not None:
            done, total = numbers_of(line.text)
            self._watcher.progress(line.step, line.text, done, total)

    def _event(self, event: dg.DagsterEvent) -> None:
        step = event.step_key or ""
        if event.event_type == dg.DagsterEventType.STEP_START:
            self._started[step] = time.monotonic()
            self._watcher.started(step)
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._materialized(step, event.materialization)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event.asset_check_evaluation_data)
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            self._watcher.failed(step, sentence_of(event))
            self._watcher.ended(step)
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            self._watcher.ended(step)

    def _materialized(self, step: str, asset: dg.AssetMaterialization) -> None:
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        figures = asset.metadata
        self._watcher.materialized(
            asset.asset_key.to_user_string(),
            (asset.tags or {})["dagster/data_version"],
            int(str(figures["dagster/row_count"].value)),
            seconds,
            reused=bool(figures["reused"].value),
        )

    def _checked(self, result: dg.AssetCheckEvaluation) -> None:
        if not result.passed:
            self._watcher.warned(result.asset_key.to_user_string(), result.check_name, result.description or "")


def numbers_of(text: str) -> tuple[int | None, int | None]:
    """How much is done of how much, where a line counts."""
    count = PACE.match(text)
    return (int(count[1].replace(",", "")), int(count[2].replace(",", ""))) if count else (None, None)


def sentence_of(event: dg.DagsterEvent) -> str:
    """Why a step failed: the sentence of a refusal, or the error itself without its trace."""
    failure = event.step_failure_data
    sentence = failure.user_failure_data.description if failure.user_failure_data else None
    if sentence:
        return sentence
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error else (event.message or "it failed without a message")
