"""Peak memory of every process of a whole graph, by the number of images: `python bench/memory.py --images 1000 10000`.

Draws photos of about 100 KB, materializes everything by the command in a fresh lake, follows all processes of the run
(VmHWM of /proc, every 50 ms), and prints the peak of each kind of process at each size, and the difference. Linux only.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIDES = (480, 360)
LABELS = ("beach", "gym", "lobby", "pool")
EVERY_S = 0.05
MB = 1e6
ROOT = Path(__file__).parent.parent


def draw(folder: Path, number: int) -> None:
    """One unlike photo of about 100 KB: coarse noise for its content, fine noise for its bytes."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(SIDES, Image.Resampling.BICUBIC)
    fine = rng.normal(0, 20, (SIDES[1], SIDES[0], 3))
    pixels = np.clip(np.asarray(coarse, dtype=np.float32) + fine, 0, 255).astype(np.uint8)
    path = folder / LABELS[number % len(LABELS)] / f"{number:06d}.jpg"
    Image.fromarray(pixels).save(path, quality=92)


def photos(folder: Path, count: int) -> float:
    """Draw a folder of photos; gives their mean size in bytes."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw, [folder] * count, range(count), chunksize=64))
    return sum(path.stat().st_size for path in folder.rglob("*.jpg")) / count


def processes(root: int) -> Iterator[int]:
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


def look(pid: int) -> tuple[str, float] | None:
    """What a process is, and its peak resident memory in MB."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return (kind(title), int(peak[1]) * 1024 / MB) if peak else None


def kind(title: str) -> str:
    """A short name of a process by its command line."""
    if title.startswith("ray::"):
        return title.split()[0].split(".")[0]
    for part in ("raylet", "gcs_server", "mm_assets.engines.sandbox", "dagster asset materialize"):
        if part in title.replace("bin/dagster", "dagster"):
            return part
    return "others"


def run(source: Path, folder: Path) -> tuple[dict[str, float], float]:
    """Materialize the graph and watch; peaks in MB by kind of process, and seconds."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    env |= {"MM_SOURCE": str(source), "MM_LAKE": str(folder / "lake"), "DAGSTER_HOME": str(folder)}
    env |= {"MM_TRAIN__EPOCHS": "1"}
    (folder / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    command = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "--select", "*"]
    started, peaks = time.monotonic(), {}
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [*command, "-m", "mm_assets.definitions"], env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        while child.poll() is None:
            for name, peak in filter(None, map(look, processes(child.pid))):
                peaks[name] = max(peaks.get(name, 0.0), peak)
            time.sleep(EVERY_S)
    if child.returncode:
        raise SystemExit((folder / "log").read_text()[-3000:])
    return peaks, time.monotonic() - started


def main() -> None:
    """Measure each size, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "memory.json")
    options = parser.parse_args()
    found = []
    for count in options.images:
        with tempfile.TemporaryDirectory(prefix="bench-memory-") as name:
            mean = photos(Path(name, "photos"), count)
            Path(name, "home").mkdir()
            peaks, seconds = run(Path(name, "photos"), Path(name, "home"))
        found.append({"images": count, "mean_bytes": round(mean), "seconds": round(seconds, 1), "peak_mb": peaks})
        print(f"{count:,} images of {mean / 1000:.0f} KB: {seconds:.0f} s", flush=True)
    # A process that lives so shortly that it was not seen at every size cannot be compared.
    names = sorted(set.intersection(*(set(item["peak_mb"]) for item in found)))
    for name in names:
        peaks_mb = [item["peak_mb"][name] for item in found]
        print(f"{name:40}", *(f"{peak:8.0f} MB" for peak in peaks_mb), f"{peaks_mb[-1] - peaks_mb[0]:+8.0f} MB")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": machine, "sizes": found}, indent=2))


if __name__ == "__main__":
    main()
