"""A run in a terminal: a line for each asset that is made, and below them what is computed now."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

# A file or a pipe has no width of its own: nothing is cut there.
WIDTH = 120


def console_of(output: TextIO) -> Console:
    """The console of an output."""
    return Console(file=output, width=None if output.isatty() else WIDTH, highlight=False, soft_wrap=True)


class Display:
    """Shows a run; see `Watcher`. The bar is drawn in a terminal only.

    Args:
        console: where.
        assets: how many there are to make.
    """

    def __init__(self, console: Console, assets: int) -> None:
        self.failures: list[str] = []
        self._console = console
        self._steps: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=23)),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[text]}", style="dim", table_column=Column(no_wrap=True, ratio=1)),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            transient=True,
            redirect_stdout=False,  # what others print is meant for a file (see `quiet.py`)
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._whole = self._progress.add_task("assets", total=assets, text=f"0 of {assets}")
        self._count, self._assets = 0, assets

    @contextmanager
    def running(self) -> Iterator[None]:
        """The bar is there as long as this lasts."""
        with self._progress:
            yield

    def started(self, step: str) -> None:
        """See `Watcher`."""
        self._steps[step] = self._progress.add_task(step.replace("__", "/"), total=None, text="")

    def progress(self, step: str, text: str, done: int | None = None, total: int | None = None) -> None:
        """See `Watcher`."""
        if step in self._steps:
            self._progress.update(self._steps[step], text=text, completed=done or 0, total=total)

    def materialized(self, asset: str, version: str, rows: int, seconds: float, *, reused: bool) -> None:
        """See `Watcher`."""
        how = "as before" if reused else "new"
        line = f" {asset:23} {version:24} {rows:>7,} rows {seconds:7.1f} s  {how}"
        self._console.print(Text.assemble((" ✓", "green"), line))
        self._count += 1
        self._progress.update(self._whole, completed=self._count, text=f"{self._count} of {self._assets}")

    def warned(self, asset: str, check: str, sentence: str) -> None:
        """See `Watcher`."""
        self._console.print(Text.assemble((" !", "yellow"), f" {asset}, check {check}: {sentence}"))

    def failed(self, step: str, sentence: str) -> None:
        """See `Watcher`."""
        self.failures.append(step)
        self._console.print(Text.assemble((" ✗", "red"), f" {step.replace('__', '/')} failed: {sentence}"))

    def ended(self, step: str) -> None:
        """See `Watcher`."""
        task = self._steps.pop(step, None)
        if task is not None:
            self._progress.remove_task(task)
