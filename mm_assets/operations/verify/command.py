"""`mm-assets verify`: one line per disagreement, and what was looked at."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.verify.job import verify
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.events import EventLog
from mm_assets.settings import SettingsError

HOME = "DAGSTER_HOME"


def prove(tables: Lake, *, deep: bool, as_json: bool) -> Callable[[], int]:
    """Verifies a lake, and Dagster's event log if there is one; returns what prints and gives the exit code."""
    with ExitStack() as stack:
        report = verify(tables, _print_progress, _event_log(stack), deep=deep)
    return lambda: _print_result(report, tables.root, deep=deep, as_json=as_json)


def _print_result(report: Report, lake: str, *, deep: bool, as_json: bool) -> int:
    empty = not (report.looked_at["materializations"] or report.disagreements)
    if empty:
        _print_progress(f"nothing was materialized in {lake} yet (MM_LAKE names the lake)")
    if as_json:
        print(json.dumps({"lake": lake, "deep": deep, **report.as_json()}, indent=2))
    else:
        _print(report)
    return 1 if report.disagreements or empty else 0


def _print_progress(line: str) -> None:
    """Prints progress on stderr; stdout has the result alone."""
    print(f"mm-assets: {line}", file=sys.stderr)


def _event_log(stack: ExitStack) -> EventLog | None:
    home = os.environ.get(HOME)
    if home and not Path(home).is_absolute():
        raise SettingsError(f"{HOME} is {home}: Dagster wants the whole path, {Path(home).absolute()}")
    if not home or not Path(home).is_dir():
        _print_progress(f"{HOME} names no folder: Dagster's event log is not compared")
        return None
    import dagster as dg

    from mm_assets.operations.verify.dagster_log import DagsterLog

    return DagsterLog(stack.enter_context(dg.DagsterInstance.get()))


def _print(report: Report) -> None:
    for item in report.disagreements:
        print(f"{item.kind}: {item}")
    print(f"{report.verdict}; looked at {_counted(report.looked_at)}")
    if +report.expected_leftovers:
        print(f"expected leftovers: {_counted(+report.expected_leftovers)}")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()))
