"""What the measurements share: seconds and bytes of a process and everything below it, the page cache, tables, JSON.

Bytes are counted twice, by /proc/PID/io, summed over this process and all its descendants, Ray's workers among them
(the kernel adds a finished child's bytes to those of the parent that waited for it; `Meter` keeps the others'):

- `read_mb`, `written_mb`: what was asked for by system calls (`rchar`, `wchar`). Exact for files; where Ray works, its
  pipes and what its new processes import are in it too (some 20 MB each).
- `disk_read_mb`, `disk_written_mb`: what moved between the page cache and the disk (`read_bytes`, `write_bytes`). Whole
  pages, with the kernel's read-ahead; `cold` drops the pages of the files in question first. Imports do not count.

Linux only.
"""

import argparse
import json
import os
import platform
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
MB = 1e6
EVERY_S = 0.25
# Options that say where, not what; those that hold a path say where too.
NOT_RECORDED = {"json", "scratch"}


@dataclass
class Cost:
    """What a piece of work took: wall seconds and MB."""

    seconds: float = 0.0
    read_mb: float = 0.0
    written_mb: float = 0.0
    disk_read_mb: float = 0.0
    disk_written_mb: float = 0.0

    def row(self) -> dict[str, float]:
        """For the table and the JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def descendants(root: int) -> Iterator[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


COUNTERS = {"rchar": "read_mb", "wchar": "written_mb", "read_bytes": "disk_read_mb", "write_bytes": "disk_written_mb"}


def bytes_moved() -> Counter[str]:
    """Bytes so far of this process and everything below it, by the names of `Cost`."""
    counters = Counter(dict.fromkeys(COUNTERS.values(), 0))
    for pid in descendants(os.getpid()):
        try:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        except OSError:
            continue
        counts = dict(line.split(": ") for line in lines)
        counters.update({name: int(counts[counter]) for counter, name in COUNTERS.items()})
    return counters


class Meter(threading.Thread):
    """Adds up the bytes of all processes while they come and go.

    A process that ends without its parent waiting for it (Ray ends idle workers so) takes its bytes with it: the sum
    over the living falls, and what it fell by is kept.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._lost: Counter[str] = Counter()
        self._first = self._last = bytes_moved()

    def run(self) -> None:
        """Look again and again."""
        while not self._ended.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        now = bytes_moved()
        self._lost += self._last - now  # of counters, what is above zero
        self._last = now

    def stop(self) -> Counter[str]:
        """Bytes since the start."""
        self._ended.set()
        self.join()
        self._look()
        return Counter({name: self._last[name] + self._lost[name] - self._first[name] for name in self._first})


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of a block, filled in when it ends; what was written before is on the disk by then."""
    os.sync()
    cost = Cost()
    meter = Meter()
    meter.start()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        for name, number in meter.stop().items():
            setattr(cost, name, number / MB)


def cold(*places: Path) -> None:
    """Drop the pages of all files below some folders (or of single files) from the page cache; needs no rights."""
    for path in files(*places):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def files(*places: Path) -> list[Path]:
    """All files below some folders, and the files among them."""
    return [path for place in places for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file()]


def size_mb(place: Path) -> float:
    """Size of a file, or of all files below a folder."""
    return sum(path.stat().st_size for path in files(place)) / MB


def parser(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """The command line of a measurement: whole numbers with their defaults, where scratch files go, the JSON."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in numbers.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--scratch", type=Path, default=None, help="a folder on the disk that is measured")
    parser.add_argument("--json", type=Path, default=None, help="in place of the file in bench/results")
    parser.add_argument("--smoke", action="store_true", help="the smallest size: whether it runs, no figures")
    return parser


def options_of(
    parser: argparse.ArgumentParser,
    name: str,
    arguments: Sequence[str] | None,
    **smallest: Any,  # noqa: ANN401  (values of options)
) -> argparse.Namespace:
    """The options of a run.

    Args:
        parser: see `parser`.
        name: of the measurement: its JSON is `results/NAME.json`.
        arguments: of the command line; None for those of this process.
        smallest: what `--smoke` sets; it writes no JSON unless it is told where.
    """
    options = parser.parse_args(arguments)
    if options.smoke:
        vars(options).update(smallest)
    elif options.json is None:
        options.json = RESULTS / f"{name}.json"
    return options


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": unknown")
    return {
        "cpus": os.cpu_count(),
        "cpu": model.split(":", 1)[1].strip(),
        "memory_gb": round(int(memory.split()[1]) * 1024 / 1e9, 1),
        "disk": disk(ROOT),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


def disk(place: Path) -> str:
    """File system and kind of the disk that holds a folder."""
    output = subprocess.run(
        ["df", "--output=source,fstype", str(place)], capture_output=True, text=True, check=True
    ).stdout.split()[-2:]
    device = Path(output[0]).name.rstrip("0123456789")
    flag = Path("/sys/block", device, "queue", "rotational")
    kind = {"0": "solid state", "1": "rotational or virtual"}.get(flag.read_text().strip(), "") if flag.exists() else ""
    return f"{output[1]} on {device}" + (f" ({kind})" if kind else "")


def versions(*packages: str) -> dict[str, str]:
    """Installed versions."""
    from importlib.metadata import version

    return {name: version(name) for name in packages}


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table of the first row's columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    print(f"\n{title}")
    for line in cells:
        print("  ".join(_placed(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip())


def text(value: Any) -> str:  # noqa: ANN401  (a cell)
    """A cell of a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _placed(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() or cell[:1] in {"-", ""} else cell.ljust(width)


def save(options: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """Write the JSON of a measurement, where one is wanted: the machine, how it was called, and what was found."""
    if options.json is None:
        return
    recorded = {name: value for name, value in vars(options).items() if name not in NOT_RECORDED}
    called = {name: value for name, value in recorded.items() if value not in (None, False) and not _is_path(value)}
    text = json.dumps({"machine": machine(), "arguments": called, **figures}, indent=1, default=str)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n")
    print(f"\nwritten: {options.json}")


def _is_path(value: object) -> bool:
    return isinstance(value, Path) or (isinstance(value, list) and any(isinstance(item, Path) for item in value))


def verdict(what: str, measured_value: float, target: float, *, at_least: bool) -> dict[str, Any]:
    """One target: what was asked for, what was measured, and whether it holds."""
    holds = measured_value >= target if at_least else measured_value <= target
    return {
        "target": what,
        "asked": ("at least " if at_least else "at most ") + f"{target:g}",
        "measured": round(measured_value, 3),
        "met": "yes" if holds else "NO",
    }


def median(values: Iterable[float]) -> float:
    """The median."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
