"""Two checkouts of the project measured in one run, in turn: the machine may not be equally fast all the time."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab import measure


@dataclass(frozen=True)
class Checkout:
    """One working tree; its packages are the ones that a process finds which is started for it."""

    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process: without the settings of whoever measures."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MM_", "DAGSTER_"))}
        return {**own, "PYTHONPATH": str(self.root), **more}

    def revision(self) -> str:
        """The commit that it stands at, and whether files differ from it."""
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


@dataclass(frozen=True)
class Taken:
    """What a command took: wall seconds, seconds of CPUs (its children's too), and what it wrote on stdout."""

    seconds: float
    cpu_seconds: float
    output: str


def timed(command: Sequence[str], env: dict[str, str], cwd: Path) -> Taken:
    """Run a command; ends the program where it fails."""
    before, started = _cpu_seconds(), time.perf_counter()
    process = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {process.returncode}:\n{process.stdout[-2000:]}{process.stderr[-4000:]}"
        )
    return Taken(seconds, _cpu_seconds() - before, process.stdout)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def script(checkout: Checkout, name: str) -> list[str]:
    """The command of a measurement as a checkout has it: a module of a package, or a file beside its helpers."""
    if (checkout.root / "bench" / "__init__.py").exists():
        return [sys.executable, "-m", f"bench.{name}"]
    return [sys.executable, str(checkout.root / "bench" / f"{name}.py")]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Least and median of some rounds."""
    return {"min": round(min(values), 3), "median": round(measure.median(values), 3)}


def ratio(second: float, first: float) -> float | None:
    """How many times the first's the second's is; None where there is nothing to compare with."""
    return round(second / first, 3) if first else None


def labelled(checkouts: Sequence[Checkout]) -> list[dict[str, Any]]:
    """What was compared."""
    return [{"checkout": number, "revision": one.revision()} for number, one in enumerate(checkouts)]
