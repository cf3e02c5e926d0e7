"""Images per second: the ingest of this project, the decode limit of the machine, Ray Data, and the loop people write.

`python -m bench.ingest --drawn 12000 --real 20000`: drawn photos of 800 x 600 pixels and about 100 KB, and the small
real photos (256 x 256 pixels, 12 KB) of the test data where there are any (TEST_DATA), each file with a serial number
after its end. The decode limit is Pillow decoding every file in full in as many processes as there are cores, reading
the files, and doing nothing else; once with glibc's defaults, once keeping freed memory (see `sandbox.KEEP`). The
project's job reads, decodes in full in a process that may die, hashes and stores the files' bytes; Ray Data decodes in
full and stores pixels, many times as many bytes, so it gets a twelfth of the photos; the loop opens and calls
`verify()`, which decodes nothing, collects the bytes and writes Lance once at the end. Everybody reads from the page
cache, and Ray runs before the clock starts. What was stored is compared with the files.
"""

import hashlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bench.lab import measure, pictures, processes
from bench.lab.driver import local_ray, run_step
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.opening import open_source
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import IngestSettings, S3Settings
from mm_assets.stages.ingest.job import list_objects, store_images
from mm_assets.stages.ingest.tables import IMAGES

# Of the limit, before and after the others: the machine may not be equally fast all the time.
ROUNDS = 2
LIMIT = "the decode limit (Pillow, a process per core)"
Work = Callable[[Path, Path], measure.Cost]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    parser = measure.parser(__doc__, drawn=12_000, real=20_000)
    options = measure.options_of(parser, "ingest", arguments, drawn=24, real=0)
    figures, targets = {}, []
    for name, count, photos in (
        ("drawn", options.drawn, pictures.draw_many(40)),
        ("real", options.real, pictures.real()),
    ):
        if not count or not photos:
            print(f"{name} photos: left out (TEST_DATA is not set)")
            continue
        with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=options.scratch) as scratch:
            figures[name] = rows = compared(Path(scratch), photos, count)
        measure.show(f"{count:,} {name} photos", rows)
        targets += judged(f"{name} photos", rows)
    measure.show("targets", targets)
    packages = measure.versions("pylance", "ray", "pyarrow", "pillow")
    measure.save(options, {"versions": packages, "ingest": figures, "targets": targets})


def compared(scratch: Path, photos: list[bytes], count: int) -> list[dict[str, Any]]:
    """Every way, the limit before and after the others."""
    ways = [
        Way(LIMIT, partial(limit, keep=False), ROUNDS),
        Way(f"{LIMIT}, freed memory kept", partial(limit, keep=True), ROUNDS),
        Way("this project (store_images on Ray)", project, 1),
        Way("the loop (open, verify, Lance at the end)", loop, 1),
        Way("ray.data.read_images().write_parquet()", by_ray_data, 1, share=12),
    ]
    for number in range(ROUNDS):
        for way in ways:
            if number < way.rounds:
                way.costs.append(measured(way, scratch, photos, count // way.share))
    return [way.row(count // way.share) for way in ways]


@dataclass
class Way:
    """One way, how often it is taken, for which share of the photos, and what it cost."""

    name: str
    work: Work
    rounds: int
    share: int = 1
    costs: list[measure.Cost] = field(default_factory=list)

    def row(self, count: int) -> dict[str, Any]:
        """The best of its rounds."""
        best = min(self.costs, key=lambda cost: cost.seconds)
        return {
            "way": self.name,
            "images": count,
            "seconds": round(best.seconds, 2),
            "images_per_second": round(count / best.seconds, 1),
            "disk_written_mb": round(best.disk_written_mb, 1),
        }


def measured(way: Way, scratch: Path, photos: list[bytes], count: int) -> measure.Cost:
    """One round: what was stored is compared, and removed."""
    source, out = scratch / f"source-{count}", scratch / "out"
    if not source.exists():
        pictures.write_folder(source, photos, count)
    cost = way.work(source, out)
    check(way.name, source, out)
    shutil.rmtree(out, ignore_errors=True)
    print(f"{way.name}: {cost.seconds:.1f} s", flush=True)
    return cost


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def check(name: str, source: Path, out: Path) -> None:
    """Compare what a way stored with the files, by digest; Ray Data stores pixels, of which the number is compared."""
    if not out.exists():
        return
    stored: object
    expected: object
    if next(out.glob("*.parquet"), None):
        stored, expected = pq.ParquetDataset(out).read(columns=["path"]).num_rows, len(measure.files(source))
    else:
        expected = {path.relative_to(source).as_posix(): digest(path.read_bytes()) for path in measure.files(source)}
        ds = lance.dataset(str(out / f"{IMAGES}.lance"))
        digests: dict[str, str] = {}
        binary = {"blob_handling": "all_binary"}
        for batch in ds.scanner(columns=["image_id", "image"], batch_size=512, **binary).to_batches():
            pairs = zip(batch["image_id"].to_pylist(), batch["image"], strict=True)
            digests |= {key: digest(data.as_buffer()) for key, data in pairs}
        stored = digests
    if stored != expected:
        raise SystemExit(f"{name}: what was stored is not what the folder has")


def limit(source: Path, _: Path, *, keep: bool) -> measure.Cost:
    """Read and decode all files in full."""
    paths = [str(path) for path in measure.files(source)]
    with processes.ready(import_plugins, keep=keep) as pool, measure.measured() as cost:
        list(pool.map(decode, paths, chunksize=32))
    return cost


def import_plugins() -> None:
    """Not in the time of the first image."""
    Image.init()


def decode(path: str) -> None:
    """Decode one file to its pixels, and forget them."""
    with Image.open(io.BytesIO(Path(path).read_bytes())) as image:
        image.load()


def project(source: Path, out: Path) -> measure.Cost:
    """The step of `image_table`, on an empty lake; the listing was made before."""
    tables, cluster, costs = Lake(str(out)), Cluster(), []
    place = open_source(str(source), S3Settings())
    cluster.connect()

    def store(step: StepContext) -> StepResult:
        with measure.measured() as cost:
            final = store_images(step, tables, cluster, place, IngestSettings())
        costs.append(cost)
        return final

    try:
        run_step(tables, lambda step: list_objects(step, tables, place, "bench"), "raw_images")
        run_step(tables, store, "image_table", inputs=("raw_images",))
    finally:
        cluster.shutdown()
    return costs[0]


def by_ray_data(source: Path, out: Path) -> measure.Cost:
    """Ray's own way; the paths stay with the pixels."""
    with local_ray(True):
        import ray

        ray.data.range(100).map_batches(lambda batch: batch).materialize()  # its workers are up
        with measure.measured() as cost:
            ray.data.read_images(str(source), include_paths=True).write_parquet(str(out))
    return cost


def loop(source: Path, out: Path) -> measure.Cost:
    """One process, one file after the other."""
    with measure.measured() as cost:
        rows = []
        for path in sorted(source.rglob("*.jpg")):
            data = path.read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
                width, height = image.size
            key = path.relative_to(source).as_posix()
            rows.append({"image_id": key, "image": data, "width": width, "height": height, "label": path.parent.name})
        lance.write_dataset(pa.Table.from_pylist(rows), str(out / f"{IMAGES}.lance"))
    return cost


def judged(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The targets."""
    most, kept, ours, written, _ = (row["images_per_second"] for row in rows)
    return [
        measure.verdict(f"{name}: of the decode limit", ours / most, 0.8, at_least=True),
        measure.verdict(f"{name}: of the decode limit, freed memory kept", ours / kept, 0.8, at_least=True),
        measure.verdict(f"{name}: times faster than the loop", ours / written, 3, at_least=True),
    ]


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s in all")
