"""The files of every version that must be readable: there, and as long as the version says."""

from collections.abc import Iterator

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lance_commits import fragments_of
from mm_assets.engines.lance_files import DATA, File
from mm_assets.engines.lance_files import stem_of as stem
from mm_assets.ingest.tables import IMAGES
from mm_assets.verify.lake import Lake
from mm_assets.verify.report import Report

IMAGE = "image"
# Kinds of blobs that lie in files of their own beside the data file (Lance's blob v2): several in one, one alone.
BESIDE = [1, 2]


def check_files(lake: Lake, report: Report) -> None:
    """Look at each file once, however many versions share it."""
    for table, ds in lake.heads.items():
        refs = {ref for _, ref in lake.promised if ref.table == table}
        seen: set[str] = set()
        for number in sorted({ref.version for ref in refs} & set(lake.commits[table]) | {ds.version}):
            with report.reading(f"{table}@v{number}"):
                _check_version(lake, lake.tables.open(table, number), table, seen, report)
        report.looked_at["files"] += len(seen)


def _check_version(lake: Lake, ds: lance.LanceDataset, table: str, seen: set[str], report: Report) -> None:
    files = lake.files[table]
    where = f"{table}@v{ds.version}"
    for fragment in ds.get_fragments():
        for path, size in _named(fragment):
            if path not in seen:
                seen.add(path)
                _check_file(where, path, size, files, report)
    if table == IMAGES and IMAGE in ds.schema.names:
        for path, size in _blobs(ds, seen):
            _check_file(where, path, size, files, report, longer=True)


def _named(fragment: lance.LanceFragment) -> Iterator[tuple[str, int | None]]:
    """Files of a fragment, and what the version says of their bytes."""
    for file in fragment.metadata.files:
        yield f"{DATA}/{file.path}", file.file_size_bytes
    removed = fragment.metadata.deletion_file
    if removed is not None:
        yield removed.path(fragment.fragment_id), None


def _check_file(
    where: str, path: str, size: int | None, files: dict[str, File], report: Report, *, longer: bool = False
) -> None:
    there = files.get(path)
    if there is None:
        report.disagree("file", where, f"its file {path} is gone")
    elif size is not None and (there.num_bytes < size if longer else there.num_bytes != size):
        report.disagree("file", where, f"its file {path} has {there.num_bytes:,} bytes instead of {size:,}")


def _blobs(ds: lance.LanceDataset, seen: set[str]) -> Iterator[tuple[str, int]]:
    """The files of larger images, and the bytes that they must have at least; each file once."""
    field = next(field.id() for field in ds.lance_schema.fields() if field.name() == IMAGE)
    beside = {
        fragment.fragment_id: stem(file)
        for fragment in ds.get_fragments()
        for file in fragment.metadata.files
        if field in file.fields and f"{stem(file)}/" not in seen
    }
    seen.update(f"{name}/" for name in beside.values())
    if not beside:
        return
    for (fragment, blob), size in _sizes(ds, list(beside)).items():
        # Lance names them by their number, its bits from the lowest to the highest.
        yield f"{DATA}/{beside[fragment]}/{format(blob, '032b')[::-1]}.blob", size


def _sizes(ds: lance.LanceDataset, fragments: list[int]) -> dict[tuple[int, int], int]:
    """Bytes by fragment and number of a blob's file."""
    chosen = [ds.get_fragment(number) for number in fragments]
    rows = ds.scanner(columns=[IMAGE], fragments=chosen, with_row_address=True).to_table()
    blobs = pa.table({name: pc.struct_field(rows[IMAGE], name) for name in ("kind", "position", "size", "blob_id")})
    blobs = blobs.append_column("fragment", pa.array(fragments_of(rows)))
    blobs = blobs.filter(pc.is_in(blobs["kind"], pa.array(BESIDE, pa.uint8())))
    blobs = blobs.append_column("end", pc.add(blobs["position"], blobs["size"]))
    ends = blobs.group_by(["fragment", "blob_id"]).aggregate([("end", "max")])
    keys = zip(*(ends[name].to_pylist() for name in ("fragment", "blob_id")), strict=True)
    return dict(zip(keys, ends["end_max"].to_pylist(), strict=True))
