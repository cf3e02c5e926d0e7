"""Ways to add score columns to a table of images and to refresh 1% of them; each makes the same cells.

A way gets rows once (`build`), then `add` gives every row a score, and `refresh` gives some rows another one.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.lab.scores import FIELDS, Scorer
from mm_assets.engines.lake.cells import add_columns, write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import is_in, replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.upkeep.compaction import compact
from mm_assets.engines.workers.batches import cut
from mm_assets.settings import ScoreSettings, UpkeepSettings
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES

# The columns of `images.lance`, with the bytes as other formats hold them.
PLAIN = pa.schema([pa.field(f.name, pa.large_binary() if f.name == "image" else f.type) for f in IMAGES_SCHEMA])
# Rows of one fragment as ingest leaves it for images of 100 KB on two cores.
FRAGMENT_ROWS = 512
# Bytes of a file that `maintenance` makes of smaller ones.
COMPACTED_BYTES = UpkeepSettings().target_file_bytes
# Parquet as the Hugging Face hub advises: row groups of 100 MB, files of 500 MB. Images do not compress, the rest does.
GROUP_ROWS, FILE_ROWS = 1024, 5120
DISTINCT = {"image_id", "sha256", "source_uri", "sharpness"}
Rows = Iterator[pa.Table]


def parquet_options(names: Iterable[str]) -> dict[str, Any]:
    """What the Parquet writer is told about a table of these columns."""
    columns = list(names)
    return {
        "compression": {name: "NONE" if name == "image" else "ZSTD" for name in columns},
        "use_dictionary": [name for name in columns if name != "image" and name not in DISTINCT],
        "write_statistics": [name for name in columns if name != "image"],
        "write_page_index": True,
    }


class Way(ABC):
    """One way; `folder` is its own."""

    name: str
    ray = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def build(self, rows: Rows) -> None:
        """Write the table without scores, from pieces of GROUP_ROWS rows."""

    @abstractmethod
    def add(self, scorer: Scorer) -> None:
        """Give every row a score."""

    def change(self, changed: list[str]) -> None:  # noqa: B027  (most ways do nothing)
        """What stands before the refresh and is not measured: the rows of these ids are there anew, without scores."""

    @abstractmethod
    def refresh(self, scorer: Scorer, changed: list[str]) -> None:
        """Give the rows of these ids a score of another revision."""

    @abstractmethod
    def table(self, columns: list[str]) -> Rows:
        """Columns of the table as it is now, in pieces, in the order of the rows; `image` as plain bytes."""

    def cells(self) -> pa.Table:
        """Ids and scores, in the order of the ids."""
        return pa.concat_tables(self.table(["image_id", *FIELDS.names])).sort_by("image_id").combine_chunks()


def project_tables(folder: Path) -> Lake:
    """The lake of a way."""
    return Lake(str(folder))


def store(tables: Lake, rows: Rows, properties: Mapping[str, str] = MappingProxyType({})) -> None:
    """Rows into `images.lance` through the project's table layer, in fragments as ingest leaves them, by one commit."""
    tables.open_or_create(IMAGES, IMAGES_SCHEMA, {})
    fragments = []
    for piece in rows:
        for part in cut(with_blobs(piece), FRAGMENT_ROWS):
            fragments += write_fragments(tables, IMAGES, part)
    commit(tables, IMAGES, lambda ds: replace_rows(ds, "image_id", [], fragments), properties)


def with_blobs(rows: pa.Table) -> pa.Table:
    """The same rows with the images as blobs."""
    images = lance.blob_array(rows["image"].to_pylist())
    place = rows.schema.get_field_index("image")
    return rows.set_column(place, IMAGES_SCHEMA.field("image"), images).cast(IMAGES_SCHEMA)


class ThisProject(Way):
    """The table layer: null columns by one commit, cells by row id, a commit per batch."""

    name = "this project"

    def build(self, rows: Rows) -> None:
        store(project_tables(self.folder), rows)

    def add(self, scorer: Scorer) -> None:
        tables = project_tables(self.folder)
        commit(tables, IMAGES, lambda ds: add_columns(ds, FIELDS), {})
        rows = tables.open(IMAGES).scanner(columns=[], with_row_id=True).to_table()
        for batch in cut(rows, ScoreSettings().batch_rows):  # row ids count the rows, in the order in which they came
            self._write(tables, scorer.of(batch["_rowid"].to_numpy()), batch)

    def change(self, changed: list[str]) -> None:
        tables = project_tables(self.folder)
        ds = tables.open(IMAGES)
        self._seen = ds.version
        rows = ds.to_table(columns=PLAIN.names, filter=is_in("image_id", changed), blob_handling="all_binary")
        fragments = write_fragments(tables, IMAGES, with_blobs(rows))
        commit(tables, IMAGES, lambda ds: replace_rows(ds, "image_id", changed, fragments), {})

    def refresh(self, scorer: Scorer, changed: list[str]) -> None:
        tables = project_tables(self.folder)
        new = f"_row_last_updated_at_version > {self._seen}"
        rows = tables.open(IMAGES).scanner(columns=["image_id"], filter=new, with_row_id=True).to_table()
        self._write(tables, scorer(rows), rows)

    def _write(self, tables: Lake, scores: pa.Table, rows: pa.Table) -> None:
        cells = scores.append_column("_rowid", rows["_rowid"])
        commit(tables, IMAGES, lambda ds: write_cells(ds, cells), {})

    def table(self, columns: list[str]) -> Rows:
        ds = project_tables(self.folder).open(IMAGES)
        for batch in ds.scanner(columns=columns, blob_handling="all_binary", batch_size=GROUP_ROWS).to_batches():
            yield pa.Table.from_batches([batch])


class Compacted(ThisProject):
    """The same after the table's small files were put together, as `maintenance` does."""

    name = "this project, after maintenance"

    def build(self, rows: Rows) -> None:
        super().build(rows)
        compact(project_tables(self.folder), IMAGES, COMPACTED_BYTES, lambda _: None)


@dataclass(frozen=True)
class Kept:
    """In place of a scorer: cells that are there already, looked up by id."""

    cells: pa.Table
    reads: str = "image_id"

    def __call__(self, rows: pa.RecordBatch) -> pa.Table:
        return self.cells.take(pc.index_in(rows.column(0), self.cells["image_id"])).select(FIELDS.names)


def _as_batch(scorer: Scorer | Kept, batch: pa.RecordBatch) -> pa.RecordBatch:
    return scorer(batch).combine_chunks().to_batches()[0]


class LanceRay(ThisProject):
    """The same table, `lance_ray.add_columns`; it cannot change cells, so a refresh drops and adds the columns."""

    name = "lance_ray.add_columns"
    ray = True

    def add(self, scorer: Scorer) -> None:
        self._add(scorer)

    def _add(self, scorer: Scorer | Kept) -> None:
        import lance_ray

        lance_ray.add_columns(
            project_tables(self.folder).uri(IMAGES),
            transform=partial(_as_batch, scorer),
            read_columns=[scorer.reads],
            concurrency=os.cpu_count(),
        )

    def change(self, changed: list[str]) -> None:
        pass

    def refresh(self, scorer: Scorer, changed: list[str]) -> None:
        ds = project_tables(self.folder).open(IMAGES)
        before = ds.to_table(columns=["image_id", *FIELDS.names])
        ds.drop_columns(FIELDS.names)
        self._add(Kept(replaced(before, scorer, changed)))


class LanceRayBinary(LanceRay):
    """The same with images as `large_binary`: the blob column cannot be read by a function of `add_columns`."""

    name = "lance_ray.add_columns (large_binary)"

    def build(self, rows: Rows) -> None:
        first = next(rows)

        def batches() -> Iterator[pa.RecordBatch]:
            for piece in (first, *rows):
                yield from piece.to_batches()

        uri = project_tables(self.folder).uri(IMAGES)
        reader = pa.RecordBatchReader.from_batches(first.schema, batches())
        lance.write_dataset(reader, uri, max_rows_per_file=FRAGMENT_ROWS, data_storage_version="2.2")

    def table(self, columns: list[str]) -> Rows:
        ds = lance.dataset(project_tables(self.folder).uri(IMAGES))
        for batch in ds.to_batches(columns=columns, batch_size=GROUP_ROWS):
            yield pa.Table.from_batches([batch])


def replaced(rows: pa.Table, scorer: Scorer, changed: list[str]) -> pa.Table:
    """A table that has scores, with those of the rows of some ids computed anew."""
    hit = pc.is_in(rows["image_id"], pa.array(changed, pa.string()))
    new = scorer(rows.filter(hit))
    for name in FIELDS.names:
        values = pc.replace_with_mask(rows[name].combine_chunks(), hit.combine_chunks(), new[name].combine_chunks())
        rows = rows.set_column(rows.schema.get_field_index(name), FIELDS.field(name), values)
    return rows


def with_scores(rows: pa.Table, scorer: Scorer, changed: list[str] | None) -> pa.Table:
    """Rows with scores: new ones for all, or for those of some ids."""
    if changed is not None:
        return replaced(rows, scorer, changed)
    cells = scorer(rows)
    for name in FIELDS.names:
        rows = rows.append_column(FIELDS.field(name), cells[name])
    return rows


def pool(scorer: Scorer) -> Executor:
    """Threads where only bytes are moved, processes where Python computes; as many as there are cores."""
    if scorer.real:
        return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))
    return ThreadPoolExecutor(os.cpu_count())


class Parquet(Way):
    """Files of Parquet, each rewritten row group by row group, as many at once as there are cores."""

    name = "Parquet rewritten (pyarrow)"

    def build(self, rows: Rows) -> None:
        writers: list[pq.ParquetWriter] = []
        self.folder.mkdir(parents=True)
        for number, piece in enumerate(rows):
            if number % (FILE_ROWS // GROUP_ROWS) == 0:
                path = self.folder / f"{len(writers):04d}.parquet"
                writers.append(pq.ParquetWriter(path, piece.schema, **parquet_options(piece.schema.names)))
            writers[-1].write_table(piece, row_group_size=GROUP_ROWS)
        for writer in writers:
            writer.close()

    def add(self, scorer: Scorer) -> None:
        self._rewrite(scorer, None)

    def refresh(self, scorer: Scorer, changed: list[str]) -> None:
        self._rewrite(scorer, changed)

    def _rewrite(self, scorer: Scorer, changed: list[str] | None) -> None:
        with pool(scorer) as workers:
            list(workers.map(partial(_rewrite_file, scorer, changed), sorted(self.folder.glob("*.parquet"))))

    def table(self, columns: list[str]) -> Rows:
        for path in sorted(self.folder.glob("*.parquet")):
            file = pq.ParquetFile(path)
            for number in range(file.num_row_groups):
                yield file.read_row_group(number, columns=columns)


def _rewrite_file(scorer: Scorer, changed: list[str] | None, path: Path) -> None:
    file, writer = pq.ParquetFile(path), None
    for number in range(file.num_row_groups):
        rows = with_scores(file.read_row_group(number), scorer, changed)
        if writer is None:
            names = rows.schema.names
            writer = pq.ParquetWriter(path.with_suffix(".new"), rows.schema, **parquet_options(names))
        writer.write_table(rows, row_group_size=GROUP_ROWS)
    if writer is not None:
        writer.close()
        path.with_suffix(".new").rename(path)


class ParquetByRay(Parquet):
    """The same files through `ray.data`: read, `map_batches` on Arrow tables without copies, written anew."""

    name = "Parquet rewritten (Ray Data)"
    ray = True

    def _rewrite(self, scorer: Scorer, changed: list[str] | None) -> None:
        import ray

        new = self.folder.with_name(f"{self.folder.name}-new")
        names = [*PLAIN.names, *FIELDS.names]
        (
            ray.data.read_parquet(str(self.folder))
            .map_batches(
                partial(with_scores, scorer=scorer, changed=changed),
                batch_format="pyarrow",
                batch_size=None,
                zero_copy_batch=True,
            )
            .write_parquet(str(new), row_group_size=GROUP_ROWS, **parquet_options(names))
        )
        shutil.rmtree(self.folder)
        new.rename(self.folder)


class Sidecar(Parquet):
    """The Parquet files stay as they are; a file beside them has ids and scores, and is written anew as a whole."""

    name = "Parquet sidecar"

    @property
    def side(self) -> Path:
        """The file beside."""
        return self.folder / "scores.sidecar"

    def add(self, scorer: Scorer) -> None:
        with pool(scorer) as workers:
            parts = workers.map(partial(_score_file, scorer), sorted(self.folder.glob("*.parquet")))
            self._write(pa.concat_tables(parts))

    def refresh(self, scorer: Scorer, changed: list[str]) -> None:
        self._write(replaced(pq.read_table(self.side), scorer, changed))

    def _write(self, cells: pa.Table) -> None:
        pq.write_table(cells, self.side.with_suffix(".new"), **parquet_options(cells.schema.names))
        self.side.with_suffix(".new").rename(self.side)

    def table(self, columns: list[str]) -> Rows:
        if set(FIELDS.names) & set(columns):
            yield pq.read_table(self.side, columns=columns)
        else:
            yield from super().table(columns)


def _score_file(scorer: Scorer, path: Path) -> pa.Table:
    file = pq.ParquetFile(path)
    columns = list(dict.fromkeys(["image_id", scorer.reads]))
    groups = (file.read_row_group(number, columns=columns) for number in range(file.num_row_groups))
    return pa.concat_tables(with_scores(rows, scorer, None).select(["image_id", *FIELDS.names]) for rows in groups)


STORAGE: list[type[Way]] = [ThisProject, Compacted, LanceRay, Parquet, ParquetByRay, Sidecar]
WITH_SCORER: list[type[Way]] = [LanceRayBinary, Parquet, ParquetByRay, Sidecar]
