"""A refresh of 1,000 new images by the size of the lake, and of 1% new ones, stage by stage.

`python -m bench.growth --sizes 10000 100000 --new 1000 --append 10000`: for each size a lake is made by the project's
own jobs and tables (pictures of 32 x 32 pixels; scores and answers made up), `maintain` brings it into shape, and then
new images come, three times. The refresh runs the real jobs: listing, ingest, the four scorers, near-duplicates,
dataset, predictions with the tiny LLaVA; the model stays as it is. Seconds are those inside the step, with Ray
running; of three refreshes the median. Bytes: see `measure.py`.

Then 1% of new images come to 10,000 of about 100 KB, while the files that hold the old images' bytes are moved away:
what read one of them would fail.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.lab import measure, pictures
from bench.lab.lakes import STAGES, Made, MadeLake, MadeUp, tiny
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.records import Record
from mm_assets.stages.ingest.tables import IMAGES

# Stages that look only at what is new; the others see every row, without images.
BY_CHANGE = ("ingest", "scores", "predictions")
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    parser = measure.parser(__doc__, new=1000, append=10_000, refreshes=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    smallest = {"sizes": [40, 80], "new": 8, "append": 100, "refreshes": 1}
    options = measure.options_of(parser, "growth", arguments, **smallest)
    work = MadeUp if options.smoke else Cluster
    measured, bare = [], {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="bench-growth-", dir=options.scratch) as name:
            rows, bare[size] = refreshed(Path(name), work(), size, options)
        measure.show(f"{options.new:,} new images on {size:,}", rows)
        measured += [{"images": size, **row} for row in rows]
    targets = judged(measured, bare) if len(options.sizes) > 1 else []
    appended: dict[str, Any] = {}
    if options.append:
        with tempfile.TemporaryDirectory(prefix="bench-append-", dir=options.scratch) as name:
            appended, more = append(Path(name), work(), options.append)
        targets += more
    measure.show("targets", targets)
    figures = {"versions": measure.versions("pylance", "ray", "pyarrow"), "growth": measured, "bare_listing_s": bare}
    measure.save(options, {**figures, **appended, "targets": targets})


def refreshed(scratch: Path, cluster: Cluster, size: int, options: argparse.Namespace) -> tuple[list[Row], float]:
    """The median cost of every stage of a refresh, and the seconds of a bare listing."""
    new = options.new
    source = Made(size, tiny(200), size, tiny(options.refreshes * new, seed=1))
    lake = filled(scratch, cluster, source)
    costs: dict[str, list[measure.Cost]] = {name: [] for name in STAGES}
    computed: dict[str, int] = {}
    bare = []
    with ray(lake):
        for number in range(1, options.refreshes + 1):
            lake.source = Made(size + number * new, source.photos, size, source.new)
            started = time.perf_counter()
            lake.source.list(lambda _: None)
            bare.append(time.perf_counter() - started)
            for name in STAGES:
                cost, records = timed(lake, name)
                costs[name].append(cost)
                computed[name] = rows_computed(records)
            check(lake, size + number * new)
    rows = []
    for name, taken in costs.items():
        middle = sorted(taken, key=lambda cost: cost.seconds)[len(taken) // 2]
        rows.append({"stage": name, "rows_computed": computed[name], **middle.row()})
    return rows, measure.median(bare)


def filled(scratch: Path, cluster: Cluster, source: Made) -> MadeLake:
    """A lake in the shape that maintenance gives it."""
    lake = MadeLake(Lake(str(scratch / "lake")), source, cluster)
    started = time.perf_counter()
    lake.fill()
    stored_at = time.perf_counter()
    lake.maintain()
    size = measure.size_mb(scratch)
    print(
        f"{source.count:,} images: made in {stored_at - started:.0f} s, "
        f"maintained in {time.perf_counter() - stored_at:.0f} s, {size:,.0f} MB",
        flush=True,
    )
    return lake


@contextmanager
def ray(lake: MadeLake) -> Iterator[None]:
    """Ray runs before the clock starts."""
    lake.cluster.connect()
    try:
        yield
    finally:
        lake.cluster.shutdown()


def timed(lake: MadeLake, name: str) -> tuple[measure.Cost, dict[str, Record]]:
    """The cost of the work inside one step."""
    costs = []

    def around(work: Callable[[], Any]) -> Any:  # noqa: ANN401  (what the job says)
        with measure.measured() as cost:
            result = work()
        costs.append(cost)
        return result

    records = lake.run(name, around)
    return costs[0], records


def rows_computed(records: dict[str, Record]) -> int:
    """What the stage says of itself, the greatest of its assets."""
    return max(record.metadata["rows_computed"] for record in records.values())


def check(lake: MadeLake, count: int) -> None:
    """Every table has a row for every image, scored and answered; ends the program where it has not."""
    images = lake.tables.open(IMAGES)
    counts = {
        "objects": lake.tables.open("objects").count_rows(),
        "images": images.count_rows(),
        "scored": images.count_rows("sharpness_rev = '1' and phash_rev = '1' and group_id is not null"),
        "dataset": lake.tables.open("sft").count_rows(),
        "predictions": lake.tables.open("predictions").count_rows("error is null"),
    }
    wrong = {name: stored for name, stored in counts.items() if stored != count}
    if wrong:
        raise SystemExit(f"after the refresh there should be {count:,} rows each: {wrong}")


def append(scratch: Path, cluster: Cluster, count: int) -> tuple[dict[str, Any], list[Row]]:
    """1% new images of real size, while the old images' files are away: what each stage took, sizes, and targets."""
    new = count // 100
    old, fresh = pictures.draw_many(40), pictures.draw_many(new, first=1000)
    lake = filled(scratch, cluster, Made(count, tuple(old), count, tuple(fresh)))
    lake.source = Made(count + new, tuple(old), count, tuple(fresh))
    blobs = [path for path in measure.files(Path(lake.tables.uri(IMAGES), "data")) if path.suffix == ".blob"]
    away = sum(path.stat().st_size for path in blobs) / measure.MB
    rows: list[Row] = []
    before = measure.size_mb(scratch)
    with ray(lake):
        with moved_away(blobs, scratch / "away"):
            for name in STAGES:
                cost, records = timed(lake, name)
                rows.append({"stage": name, "rows_computed": rows_computed(records), **cost.row()})
        grown = measure.size_mb(scratch) - before
        check(lake, count + new)
    sizes = {
        "old_images_mb": round(away, 2),
        "new_objects_mb": round(sum(len(photo) + 8 for photo in fresh) / measure.MB, 2),
        "lake_grown_by_mb": round(grown, 2),
        "disk_written_mb": round(sum(row["disk_written_mb"] for row in rows), 2),
    }
    measure.show(f"{new:,} new images on {count:,}, the files of the old images moved away", rows)
    measure.show("sizes", [sizes])
    limit = round(1.3 * sizes["new_objects_mb"] + 1, 2)
    shares = [row["rows_computed"] / new for row in rows]
    return {"append": rows, "append_sizes": sizes}, [
        measure.verdict(
            "append 1%: rows computed / rows changed, greatest of all stages", max(shares), 1, at_least=False
        ),
        measure.verdict("append 1%: rows computed / rows changed, least of all stages", min(shares), 1, at_least=True),
        measure.verdict("append 1%: MB written to the disk", sizes["disk_written_mb"], limit, at_least=False),
        measure.verdict("append 1%: MB that the lake has grown by", grown, limit, at_least=False),
    ]


@contextmanager
def moved_away(paths: list[Path], place: Path) -> Iterator[None]:
    """Files that nobody can read meanwhile."""
    place.mkdir()
    for number, path in enumerate(paths):
        shutil.move(path, place / str(number))
    try:
        yield
    finally:
        for number, path in enumerate(paths):
            shutil.move(place / str(number), path)


def judged(measured: list[Row], bare: dict[int, float]) -> list[Row]:
    """The targets: the largest lake against the smallest."""
    seconds = {(row["images"], row["stage"]): row["seconds"] for row in measured}
    small, large = min(bare), max(bare)
    targets = [
        measure.verdict(
            f"{name}: seconds at {large:,}, in those at {small:,}",
            seconds[large, name] / seconds[small, name],
            1.2,
            at_least=False,
        )
        for name in BY_CHANGE
    ]
    for name in STAGES:
        if name not in BY_CHANGE:
            own = {size: seconds[size, name] - (bare[size] if name == "listing" else 0) for size in (small, large)}
            slope = (own[large] - own[small]) / (large - small) * 1e6
            what = f"{name}: seconds more per million rows" + (" beyond the bare listing" if name == "listing" else "")
            targets.append(measure.verdict(what, slope, 10, at_least=False))
    return targets


if __name__ == "__main__":
    main()
