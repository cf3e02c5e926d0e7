"""Read a few images of many, at random: this project's table, Parquet by row-group size, WebDataset tar.

`python -m bench.point_reads --images 5000`: 16 and 100 of 5,000 images of about 100 KB (random bytes). Everybody
knows where a row is: the table by its row id, Parquet by the number of its row group, tar by its offset (or nobody, for
the sequential pass that WebDataset is made for). Cold: the page cache has none of it, and the table is opened in the
time that counts. Warm: the table is open and the page cache has it. Each figure is the median over several sets of
rows; all bytes are compared with those that were written.
"""

import shutil
import tarfile
import tempfile
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from bench.lab import measure, pictures
from bench.lab.column_ways import COMPACTED_BYTES, PLAIN, project_tables, store
from mm_assets.engines.lake.upkeep.compaction import compact
from mm_assets.stages.ingest.tables import IMAGES

TAKEN = (16, 100)
GROUPS = (1, 2, 4, 16, 64, 1024)
PIECE = 1024
COLD_SETS, WARM_SETS = 7, 15
# Row numbers and bytes by row number.
Rows = Sequence[int]


class Store(ABC):
    """One way to keep the images; `open` and `read` are what is measured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def build(self, rows: Iterator[pa.Table]) -> None:
        """Write all rows."""

    @abstractmethod
    def open(self) -> None:
        """Open it, as a process that starts does."""

    @abstractmethod
    def read(self, rows: Rows) -> list[bytes]:
        """The images of these rows, in this order."""


class Project(Store):
    """`images.lance`, as the project's scorers read it: by row id."""

    def __init__(self, folder: Path, *, compacted: bool) -> None:
        super().__init__(folder)
        self._compacted = compacted

    def build(self, rows: Iterator[pa.Table]) -> None:
        store(project_tables(self.folder), rows)
        if self._compacted:
            compact(project_tables(self.folder), IMAGES, COMPACTED_BYTES, lambda _: None)
        ds = project_tables(self.folder).open(IMAGES)
        stored = ds.scanner(columns=["image_id"], with_row_id=True).to_table().sort_by("image_id")
        by_id = dict(zip(stored["image_id"].to_pylist(), stored["_rowid"].to_pylist(), strict=True))
        self.ids = [by_id[pictures.image_id(number)] for number in range(len(by_id))]

    def open(self) -> None:
        self.table = project_tables(self.folder).open(IMAGES)

    def read(self, rows: Rows) -> list[bytes]:
        return [data for _, data in self.table.read_blobs("image", ids=[self.ids[row] for row in rows])]


class Parquet(Store):
    """One file with ids and images, not compressed (images are already), with the page index."""

    def __init__(self, folder: Path, group: int) -> None:
        super().__init__(folder)
        self.group = group

    def build(self, rows: Iterator[pa.Table]) -> None:
        self.folder.mkdir(parents=True)
        writer = None
        for piece in rows:
            two = piece.select(["image_id", "image"])
            if writer is None:
                writer = pq.ParquetWriter(
                    self.folder / "images.parquet",
                    two.schema,
                    compression="NONE",
                    use_dictionary=False,
                    write_statistics=["image_id"],
                    write_page_index=True,
                )
            writer.write_table(two, row_group_size=self.group)
        assert writer is not None
        writer.close()

    def open(self) -> None:
        self.file = pq.ParquetFile(self.folder / "images.parquet", pre_buffer=True)

    def read(self, rows: Rows) -> list[bytes]:
        groups = sorted({row // self.group for row in rows})
        images = self.file.read_row_groups(groups, columns=["image"])["image"].combine_chunks()
        starts = {group: place * self.group for place, group in enumerate(groups)}
        return [images[starts[row // self.group] + row % self.group].as_py() for row in rows]


class Tar(Store):
    """A WebDataset shard with an index of offsets beside it: one read per image."""

    path = "images.tar"

    def build(self, rows: Iterator[pa.Table]) -> None:
        self.folder.mkdir(parents=True)
        with webdataset.TarWriter(str(self.folder / self.path)) as writer:
            number = 0
            for piece in rows:
                for data in piece["image"]:
                    writer.write({"__key__": f"{number:07d}", "jpg": data.as_py()})
                    number += 1
        with tarfile.open(self.folder / self.path) as tar:
            self.offsets = [(member.offset_data, member.size) for member in tar]

    def open(self) -> None:
        self.file = (self.folder / self.path).open("rb", buffering=0)

    def read(self, rows: Rows) -> list[bytes]:
        values = []
        for row in rows:
            offset, size = self.offsets[row]
            self.file.seek(offset)
            values.append(self.file.read(size))
        return values


class Sequential(Tar):
    """A WebDataset shard read as it is meant to be: from its start, until everything wanted has come by."""

    def open(self) -> None:
        self.dataset = webdataset.WebDataset(str(self.folder / self.path), shardshuffle=False, empty_check=False)

    def read(self, rows: Rows) -> list[bytes]:
        expected, images = set(rows), {}
        for number, sample in enumerate(self.dataset):
            if number in expected:
                images[number] = sample["jpg"]
                if len(images) == len(expected):
                    break
        return [images[row] for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    options = measure.options_of(measure.parser(__doc__, images=5_000), "point_reads", arguments, images=120)
    sums = checksums(options.images)
    reads = []
    with tempfile.TemporaryDirectory(prefix="bench-reads-", dir=options.scratch) as name:
        for title, one in stores(Path(name)):
            for other in Path(name).iterdir():
                if other != one.folder:
                    shutil.rmtree(other)
            if not one.folder.exists():
                one.build(pictures.random_rows(PLAIN, options.images, PIECE))
            few = isinstance(one, Sequential)
            reads.append({"way": title, **measured(title, one, sums, few=few)})
            print(f"{title}: done", flush=True)
    measure.show(f"milliseconds to read 16 and 100 of {options.images:,} images of about 100 KB, and MB read", reads)
    targets = judged(reads)
    measure.show("targets", targets)
    packages = measure.versions("pylance", "pyarrow", "webdataset")
    measure.save(options, {"versions": packages, "reads": reads, "targets": targets})


def stores(scratch: Path) -> Iterator[tuple[str, Store]]:
    """Each with its name, and with its files gone when the next one comes."""
    yield "this project", Project(scratch / "project", compacted=False)
    yield "this project, after maintenance", Project(scratch / "maintained", compacted=True)
    for group in GROUPS:
        yield f"Parquet, row group of {group}", Parquet(scratch / f"parquet-{group}", group)
    tar = Tar(scratch / "tar")
    yield "WebDataset tar, index of offsets", tar
    sequential = Sequential(tar.folder)
    yield "WebDataset tar, sequential", sequential


def checksums(count: int) -> list[int]:
    """CRC of every image that is written."""
    pieces = pictures.random_rows(PLAIN, count, PIECE)
    return [zlib.crc32(data.as_buffer()) for piece in pieces for data in piece["image"]]


def measured(title: str, one: Store, sums: list[int], *, few: bool) -> dict[str, Any]:
    """Cold and warm times of both numbers of rows."""
    row: dict[str, Any] = {"file_mb": round(measure.size_mb(one.folder), 1)}
    rng = np.random.default_rng(3)
    for taken in TAKEN:
        cold, moved = [], []
        for rows in sets(rng, len(sums), taken, 2 if few else COLD_SETS):
            measure.cold(one.folder)
            with measure.measured() as cost:
                one.open()
                images = one.read(rows)
            check(title, rows, images, sums)
            cold.append(cost.seconds)
            moved.append(cost.read_mb)
        warm = []
        one.open()
        for rows in sets(rng, len(sums), taken, 2 if few else WARM_SETS):
            one.read(rows)  # now the page cache has it
            started = time.perf_counter()
            images = one.read(rows)
            warm.append(time.perf_counter() - started)
            check(title, rows, images, sums)
        row |= {
            f"cold_{taken}_ms": round(measure.median(cold) * 1000, 2),
            f"warm_{taken}_ms": round(measure.median(warm) * 1000, 2),
            f"read_{taken}_mb": round(measure.median(moved), 2),
        }
    return row


def sets(rng: np.random.Generator, count: int, taken: int, times: int) -> Iterator[list[int]]:
    """Rows to read, each set another one."""
    for _ in range(times):
        yield [int(row) for row in rng.choice(count, taken, replace=False)]


def check(title: str, rows: Rows, images: list[bytes], sums: list[int]) -> None:
    """Compare what was read with what was written; ends the program where it differs."""
    if [zlib.crc32(data) for data in images] != [sums[row] for row in rows]:
        raise SystemExit(f"{title}: what was read is not what was written")


def judged(reads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The targets: each time against the row-group size that is the best at it."""
    ours, parquet = reads[1], [row for row in reads if row["way"].startswith("Parquet")]
    targets = []
    for name in (f"{state}_{taken}_ms" for state in ("cold", "warm") for taken in TAKEN):
        best = min(parquet, key=lambda row: row[name])
        what = f"{name.replace('_ms', ' images').replace('_', ', ')}: times faster than {best['way']}"
        targets.append(measure.verdict(what, best[name] / ours[name], 3, at_least=True))
    return targets


if __name__ == "__main__":
    main()
