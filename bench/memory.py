"""Peak memory of every process, stage by stage, by the number of images.

`python -m bench.memory --sizes 10000 100000`: unlike pictures of 32 x 32 pixels in a folder, and eight of 60
megapixels; every stage runs in a process and a Ray cluster of its own, as a step of Dagster does, over all images:
listing, ingest, the four scorers, near-duplicates, dataset; and the predictions of the last 10,000 with the tiny LLaVA
(the checkpoint is made, not trained; the other predictions are made up before). All processes below are followed
(VmHWM of /proc, every 50 ms). Listing, near-duplicates and dataset see every row, without image bytes, and are told
apart. Linux only.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

from bench.lab import measure, pictures
from bench.lab.lakes import STAGES, MadeLake, MadeUp, tiny
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.workers.cluster import Cluster

EVERY_S = 0.05
# What is measured, and what comes before it without being measured.
SEQUENCE = (*STAGES[:4], "sft_dataset", "predictions")
BEFORE = {"sft_dataset": "base_model", "predictions": "answers"}
# So many images are answered by the model at every size; the answers of the others are made up.
ANSWERED = 10_000
SEES_ALL = ("listing", "near_duplicates", "sft_dataset")
LIMIT_MB = 100
PIECE = 1000
# So many of the last images are large ones, as far apart as a piece: 60 megapixels, 180 MB when decoded.
LARGE, LARGE_SIZE = 8, (10_000, 6_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each size, print tables, write JSON."""
    parser = measure.parser(__doc__, large=LARGE)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stages", nargs="+", choices=SEQUENCE, default=SEQUENCE, help="the first ones are enough")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = measure.options_of(parser, "memory", arguments, large=0, stages=SEQUENCE[:3])
    if options.stage:
        run(options.stage, options.folder, options.sizes[0], MadeUp() if options.smoke else Cluster())
        return
    if options.smoke:
        options.sizes = [40]
    peaks: dict[int, dict[str, dict[str, float]]] = {}
    seconds: dict[int, dict[str, float]] = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="bench-memory-", dir=options.scratch) as name:
            draw(Path(name, "photos"), size, options.large)
            peaks[size], seconds[size] = {}, {}
            for stage in options.stages:
                if stage in BEFORE:
                    watched(BEFORE[stage], Path(name), size, smoke=options.smoke)
                peaks[size][stage], seconds[size][stage] = watched(stage, Path(name), size, smoke=options.smoke)
        print(f"{size:,} images: {sum(seconds[size].values()):.0f} s", flush=True)
    rows = compared(peaks)
    measure.show("peak memory (MB) of each process that the stage's work runs in", rows)
    targets = judged(rows)
    measure.show("targets", targets)
    measure.save(options, {"peaks": rows, "seconds": seconds, "targets": targets})


def draw(folder: Path, count: int, large: int) -> None:
    """A folder of unlike pictures, some of them large ones."""
    for label in pictures.LABELS:
        (folder / label).mkdir(parents=True)
    starts = range(0, count, PIECE)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        list(pool.map(draw_piece, [folder] * len(starts), starts, [min(PIECE, count - start) for start in starts]))
    for number in range(large):
        draw_large(folder / pictures.image_id(count - 1 - number * PIECE), number)


def draw_piece(folder: Path, start: int, count: int) -> None:
    """Some of the pictures."""
    for number, data in enumerate(tiny(count, seed=start), start=start):
        (folder / pictures.image_id(number)).write_bytes(data)


def draw_large(path: Path, number: int) -> None:
    """A large picture in the place of a small one: a gradient, unlike the others in its colour."""
    grey = Image.linear_gradient("L").resize(LARGE_SIZE)
    Image.merge("RGB", [grey, grey.point(lambda value: value * number // LARGE), grey]).save(path, "JPEG", quality=85)


def run(stage: str, folder: Path, size: int, cluster: Cluster) -> None:
    """One stage, in a process that the other one watches."""
    lake = MadeLake(Lake(str(folder / "lake")), FolderSource(str(folder / "photos")), cluster)
    if stage == "answers":
        lake.cluster = MadeUp(lambda name: pictures.number_of(name) >= size - ANSWERED)
        for name in ("llava_checkpoint", "evaluation", "predictions"):
            lake.run(name)
        return
    lake.retry_errors = stage == "predictions"  # the made-up answers of the last images are errors
    lake.run(stage)


def watched(stage: str, folder: Path, size: int, *, smoke: bool) -> tuple[dict[str, float], float]:
    """Run a stage and watch: peaks in MB by kind of process, and seconds."""
    arguments = ["--stage", stage, "--folder", str(folder), "--sizes", str(size), *(["--smoke"] if smoke else [])]
    command = [sys.executable, "-m", "bench.memory", *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    peaks: dict[str, float] = {}
    started = time.monotonic()
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(command, env=env, cwd=measure.ROOT, stdout=log, stderr=subprocess.STDOUT)
        while child.poll() is None:
            for pid in measure.descendants(child.pid):
                process = look(pid)
                if process:
                    peaks[process[0]] = max(peaks.get(process[0], 0.0), process[1])
            time.sleep(EVERY_S)
    if child.returncode:
        raise SystemExit((folder / "log").read_text()[-3000:])
    return peaks, round(time.monotonic() - started, 1)


def look(pid: int) -> tuple[str, float] | None:
    """What a process is, and its peak resident memory in MB."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return (kind(title), int(peak[1]) * 1024 / measure.MB) if peak else None


def kind(title: str) -> str:
    """A short name of a process by its command line."""
    if title.startswith("ray::"):
        return "a worker" if "_Holder" in title else "Ray's own"
    if "mm_assets.engines.workers.sandbox" in title:
        return "the decoder's sandbox"
    return "the step" if "--stage" in title else "Ray's own"


def compared(peaks: dict[int, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row for every stage and kind of process that was seen at every size."""
    rows = []
    for stage in next(iter(peaks.values())):
        common = set.intersection(*(set(by_stage[stage]) for by_stage in peaks.values()))
        for process in sorted(common):
            by_size = {f"{size:,}": round(by_stage[stage][process], 1) for size, by_stage in peaks.items()}
            values = list(by_size.values())
            rows.append({"stage": stage, "process": process, **by_size, "more": round(values[-1] - values[0], 1)})
    return rows


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The targets: stages that look at one batch after the other stay flat; the others are only named."""
    flat = [row for row in rows if row["stage"] not in SEES_ALL]
    most = max(flat, key=lambda row: row["more"])
    what = f"MB more at the most images than at the fewest, greatest: {most['stage']}, {most['process']}"
    return [measure.verdict(what, most["more"], LIMIT_MB, at_least=False)]


if __name__ == "__main__":
    main()
