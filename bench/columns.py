"""Add a score column to a table of images and refresh 1% of it: this project and what else one would take.

`python -m bench.columns --images 20000 --photos 1500`: storage only (random bytes of about 100 KB for images; the score
is made of the number of the row, and everybody reads what they need to put it in its place) on 20,000 images, then the
same addition with a real scorer (sharpness) on 1,500 photos. Every way adds the value, its revision and its error.
Before a figure is printed, the cells of every way are compared with those that they must be, and the images with those
that were written.
"""

import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.lab import measure, pictures, processes
from bench.lab.column_ways import GROUP_ROWS, PLAIN, STORAGE, WITH_SCORER, Sidecar, ThisProject, Way, replaced, store
from bench.lab.driver import local_ray, run_step
from bench.lab.scores import FIELDS, REAL, Scorer, score_of
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import ScoreSettings
from mm_assets.stages.score.job import compute_scores

JOB = "this project (the job, on Ray)"
Found = list[dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    parser = measure.parser(__doc__, images=20_000, photos=1_500, warm_up=2_000)
    options = measure.options_of(parser, "columns", arguments, images=100, photos=8, warm_up=0)
    with tempfile.TemporaryDirectory(prefix="bench-columns-", dir=options.scratch) as name:
        storage = storage_only(Path(name), options.images, options.warm_up)
        measure.show(f"storage only, {options.images:,} images of about 100 KB", storage)
        scored = with_scorer(Path(name), options.photos, options.warm_up)
    measure.show(f"with a real scorer ({REAL.name}), {options.photos:,} photos", scored)
    targets = judged(storage, scored)
    measure.show("targets", targets)
    packages = measure.versions("pylance", "lance-ray", "pyarrow", "ray", "pillow")
    measure.save(options, {"versions": packages, "storage_only": storage, "with_scorer": scored, "targets": targets})


def storage_only(scratch: Path, count: int, warm_up: int) -> Found:
    """Every way in turn: the addition and the refresh."""

    def rows(number: int) -> Iterator[pa.Table]:
        return pictures.random_rows(PLAIN, number, GROUP_ROWS)

    changed = sorted(np.random.default_rng(1).choice(count, count // 100, replace=False))
    ids = [pictures.image_id(int(number)) for number in changed]
    first, second = Scorer("r1"), Scorer("r2")
    added = expected(count, first)
    refreshed = replaced(added, second, ids)
    sums = checksums(rows(count))
    measured = []
    for kind in STORAGE:
        with local_ray(kind.ray):
            warmed(kind, scratch / "warm-up", warm_up)
            way = kind(scratch / "storage")
            build(way, rows(count), scratch)
            add = timed(way, partial(way.add, first))
            same(way, added)
            way.change(ids)
            refresh = timed(way, partial(way.refresh, second, ids))
            same(way, refreshed)
            if checksums(way.table(["image_id", "image"])) != sums:
                raise SystemExit(f"{way.name}: the images are others than those that were written")
            shutil.rmtree(way.folder)
        measured.append({"way": way.name, **add, **{f"refresh_{name}": value for name, value in refresh.items()}})
        print(f"{way.name}: done", flush=True)
    for place in scratch.glob("built-*"):
        shutil.rmtree(place)
    return measured


def warmed(kind: type[Way], folder: Path, count: int) -> None:
    """Do it once with so many small rows, for none to be the first to import and to start workers."""
    if count:
        way = kind(folder)
        way.build(pictures.random_rows(PLAIN, count, GROUP_ROWS, 100))
        way.add(Scorer("r1"))
        shutil.rmtree(folder)


def build(way: Way, rows: Iterator[pa.Table], scratch: Path) -> None:
    """Write the table, or link the files of one that was written: nobody changes a file in place."""
    maker = next(base for base in type(way).mro() if "build" in vars(base))
    kept = scratch / f"built-{maker.__name__}"
    if not kept.exists():
        type(way)(kept).build(rows)
    shutil.copytree(kept, way.folder, copy_function=os.link)


def timed(way: Way, work: Callable[[], None]) -> dict[str, float]:
    """The cost of one piece of work, from a cold page cache."""
    measure.cold(way.folder)
    with measure.measured() as cost:
        work()
    return cost.row()


def expected(count: int, scorer: Scorer) -> pa.Table:
    """The cells as they must be, by the order of ids."""
    ids = pa.table({"image_id": pa.array(sorted(map(pictures.image_id, range(count))), pa.string())})
    cells = scorer(ids)
    return pa.table([ids["image_id"], *cells.columns], names=["image_id", *FIELDS.names])


def same(way: Way, expected: pa.Table) -> None:
    """Compare cell for cell; ends the program where one differs."""
    cells = way.cells()
    for name in expected.schema.names:
        if cells[name].to_pylist() != expected[name].to_pylist():
            raise SystemExit(f"{way.name}: column {name} is not what it must be")


def checksums(pieces: Iterator[pa.Table]) -> dict[str, int]:
    """CRC of every image by id."""
    stored = {}
    for piece in pieces:
        for name, data in zip(piece["image_id"], piece["image"], strict=True):
            stored[name.as_py()] = zlib.crc32(data.as_buffer())
    return stored


def with_scorer(scratch: Path, count: int, warm_up: int) -> Found:
    """Every way with a scorer that decodes the photos, beside the scorer alone."""
    photos = pictures.draw_many(40)
    kept, values = scorer_alone(photos, count, keep=True)
    first, _ = scorer_alone(photos, count, keep=False)
    names = [pictures.image_id(number) for number in range(count)]
    expected = dict(zip(names, values, strict=True))
    costs: dict[str, dict[str, float]] = {}

    def rows() -> Iterator[pa.Table]:
        return pictures.photo_rows(PLAIN, count, GROUP_ROWS, photos)

    for name, work in [(JOB, project_job), *((kind.name, rival(kind, warm_up)) for kind in WITH_SCORER)]:
        costs[name], cells = work(scratch / "scorer", rows())
        shutil.rmtree(scratch / "scorer")
        scored = dict(zip(cells["image_id"].to_pylist(), cells[REAL.name].to_pylist(), strict=True))
        if scored != expected:
            raise SystemExit(f"{name}: the scores are not what they must be")
        if name == JOB:  # the machine may not be equally fast all the time
            second, _ = scorer_alone(photos, count, keep=False)
            own = (first + second) / 2
        print(f"{name}: done", flush=True)
    alone = [
        {"way": "the scorer alone, over bytes in memory", "seconds": round(own, 3), "times": 1.0},
        {"way": "the same, freed memory kept", "seconds": round(kept, 3), "times": round(kept / own, 3)},
    ]
    return [*alone, *({"way": name, **cost, "times": round(cost["seconds"] / own, 3)} for name, cost in costs.items())]


def rival(kind: type[Way], warm_up: int) -> Callable[[Path, Iterator[pa.Table]], tuple[dict[str, float], pa.Table]]:
    """Build, warm up where Ray runs, and measure one way."""

    def work(folder: Path, rows: Iterator[pa.Table]) -> tuple[dict[str, float], pa.Table]:
        with local_ray(kind.ray):
            warmed(kind, folder / "warm-up", warm_up)
            way = kind(folder / "table")
            way.build(rows)
            cost = timed(way, lambda: way.add(Scorer(REAL.revision, real=True)))
            return cost, way.cells()

    return work


def project_job(folder: Path, rows: Iterator[pa.Table]) -> tuple[dict[str, float], pa.Table]:
    """The step of `scores/sharpness`: on Ray, batch by batch, with the Ray cluster started before."""
    tables, cluster = Lake(str(folder)), Cluster()
    cluster.connect()
    settings, cost = ScoreSettings(), {}

    def ingest(step: StepContext) -> StepResult:
        final = StepResult({"rows": 0})
        store(tables, rows, step.properties(["image_table"], 1, {"image_table": final}))
        return final

    def score(step: StepContext) -> dict[str, StepResult]:
        with measure.measured() as taken:
            finals = compute_scores(step, tables, cluster, [REAL], settings)
        cost.update(taken.row())
        return finals

    try:
        run_step(tables, ingest, "image_table")
        measure.cold(folder)
        run_step(tables, score, REAL.asset, inputs=("image_table",))
    finally:
        cluster.shutdown()
    return cost, tables.open("images").to_table(columns=["image_id", REAL.name])


def scorer_alone(photos: list[bytes], count: int, *, keep: bool) -> tuple[float, list[float]]:
    """Seconds of decoding and scoring photos from memory in as many processes as there are cores, and the scores."""
    shares = [range(core, count, processes.CORES) for core in range(processes.CORES)]
    with processes.ready(hold, photos, keep=keep) as pool:
        started = time.perf_counter()
        results = list(pool.map(score_share, shares))
        seconds = time.perf_counter() - started
    pairs = (pair for share, figures in zip(shares, results, strict=True) for pair in zip(share, figures, strict=True))
    return seconds, [value for _, value in sorted(pairs)]


HELD: list[bytes] = []


def hold(photos: list[bytes]) -> None:
    """Keep the photos in a process, and import all that scoring needs."""
    HELD[:] = photos
    score_of(photos[0])


def score_share(numbers: range) -> list[float]:
    """Scores of some of the photos."""
    return [score_of(pictures.serial(HELD[number % len(HELD)], number)) for number in numbers]


def judged(storage: Found, scored: Found) -> Found:
    """The targets."""
    by_way = {row["way"]: row for row in storage}
    ours, side = by_way[ThisProject.name], by_way[Sidecar.name]
    parquet = by_way["Parquet rewritten (pyarrow)"]
    job = next(row for row in scored if row["way"] == JOB)
    targets = []
    for prefix, what in (("", "add"), ("refresh_", "refresh 1%")):
        moved = {name: row[f"{prefix}read_mb"] + row[f"{prefix}written_mb"] for name, row in by_way.items()}
        fewer, faster = (
            moved[parquet["way"]] / moved[ours["way"]],
            parquet[f"{prefix}seconds"] / ours[f"{prefix}seconds"],
        )
        beside = moved[ours["way"]] / moved[side["way"]]
        targets += [
            measure.verdict(f"{what}: times fewer bytes than Parquet rewritten", fewer, 100, at_least=True),
            measure.verdict(f"{what}: times faster than Parquet rewritten", faster, 20, at_least=True),
            measure.verdict(f"{what}: bytes, in those of the sidecar", beside, 1.5, at_least=False),
        ]
    kept = job["times"] / scored[1]["times"]
    return [
        *targets,
        measure.verdict("real scorer: wall time, in the scorer's own", job["times"], 1.2, at_least=False),
        measure.verdict("real scorer: the same, the scorer alone keeping freed memory", kept, 1.2, at_least=False),
    ]


if __name__ == "__main__":
    main()
