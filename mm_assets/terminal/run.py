"""Run the whole graph in this process, as `dagster asset materialize` does, and show it."""

import logging
import os
import sys
import time
from pathlib import Path

import dagster as dg
from rich.console import Console

from mm_assets.settings import Settings
from mm_assets.terminal.display import Display, console_of
from mm_assets.terminal.events import EventHandler, Watcher
from mm_assets.terminal.quiet import output_into

LOG = Path("logs", "demo.log")  # below DAGSTER_HOME
LOGGER = "terminal"
INTERRUPTED = 130


def run_graph(settings: Settings) -> int:
    """Materialize everything; gives the exit code.

    Dagster's own log, and what libraries print, goes into a file below DAGSTER_HOME.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        print(
            "make demo: DAGSTER_HOME names no folder for Dagster's history: export DAGSTER_HOME=$PWD", file=sys.stderr
        )
        return 2
    path = Path(home).resolve() / LOG
    started = time.monotonic()
    with output_into(path) as terminal:
        console = console_of(terminal)
        code = _run(settings, console, path)
        if code == 0:
            _summarize(settings, console, time.monotonic() - started)
    return code


def _run(settings: Settings, console: Console, log: Path) -> int:
    from mm_assets.definitions import build
    from mm_assets.engines.lake.tables import Lake

    definitions = build(settings)
    assets = definitions.resolve_asset_graph().materializable_asset_keys
    lake = Lake(settings.lake, settings.s3).place.short_name()
    console.print(f"{len(assets)} assets, from the images to the predictions, into {lake}")
    display = Display(console, len(assets))
    job = dg.Definitions.merge(definitions, dg.Definitions(loggers={LOGGER: logger_for(display)}))
    with dg.DagsterInstance.get() as instance, display.running():
        try:
            result = job.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, run_config={"loggers": {LOGGER: {}}}, raise_on_error=False
            )
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
            console.print(" interrupted: what is complete stays; the next run goes on from there")
            return INTERRUPTED
    if result.success:
        return 0
    if not display.failures:
        console.print(" the run failed before its first step")
    console.print(f" the whole trace: {os.path.relpath(log)}, or run {result.run_id} in the UI (make dev)")
    return 1


def logger_for(watcher: Watcher) -> dg.LoggerDefinition:
    """A logger of Dagster that shows a run, and writes its lines on stderr."""

    def started(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger(LOGGER, logging.DEBUG)
        lines = logging.StreamHandler(sys.stderr)
        lines.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for handler in (lines, EventHandler(watcher)):
            logger.addHandler(handler)
        return logger

    return dg.LoggerDefinition(started, description="A line for each asset in the terminal.")


def _summarize(settings: Settings, console: Console, seconds: float) -> None:
    from mm_assets.definitions import assets_in_flow_order
    from mm_assets.engines.lake.tables import Lake
    from mm_assets.history.history import History
    from mm_assets.terminal.summary import print_summary

    keys = [key.to_user_string() for asset in assets_in_flow_order(settings) for key in sorted(asset.keys)]
    console.print(f" done in {seconds:.0f} s\n")
    print_summary(console, History.read(Lake(settings.lake, settings.s3)).newest, keys)
