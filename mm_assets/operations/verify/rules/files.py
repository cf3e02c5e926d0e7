"""The files of every version that must be readable: each is there, with the length that the version records."""

from collections.abc import Iterator

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.cells import fragments_of
from mm_assets.engines.lake.files import DATA
from mm_assets.engines.store.place import File
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.stages.ingest.tables import IMAGES

IMAGE = "image"
# Kinds of blobs that lie in files of their own beside the data file (Lance's blob v2): several in one, one alone.
BESIDE = [1, 2]


def check_files(lake: LakeSnapshot, report: Report) -> None:
    """Look at each file once, however many versions share it."""
    for table in lake.files:
        ds = lake.heads[table]
        refs = {ref for _, ref in lake.must_be_readable if ref.table == table}
        checked: set[str] = set()
        for number in sorted({ref.version for ref in refs} & set(lake.commits[table]) | {ds.version}):
            with report.reading(f"{table}@v{number}"):
                _check_version(lake, lake.tables.open(table, number), table, checked, report)
        report.looked_at["files"] += sum(not path.endswith("/") for path in checked)


def _check_version(lake: LakeSnapshot, ds: lance.LanceDataset, table: str, checked: set[str], report: Report) -> None:
    files = lake.files[table]
    where = f"{table}@v{ds.version}"
    for fragment in ds.get_fragments():
        for file in fragment.metadata.files:
            path = f"{DATA}/{file.path}"
            if path not in checked:
                checked.add(path)
                _check_file(where, path, file.file_size_bytes, files, report)
        _check_removed(where, fragment, checked, files, report)
    if table == IMAGES and IMAGE in ds.schema.names:
        for path, size in _blobs(ds, checked):
            checked.add(path)
            _check_file(where, path, size, files, report, longer=True)


def _check_removed(
    where: str, fragment: lance.LanceFragment, checked: set[str], files: dict[str, File], report: Report
) -> None:
    """Checks a fragment's list of removed rows by the rows that it leaves: its length is not recorded."""
    removed = fragment.metadata.deletion_file
    path = removed.path(fragment.fragment_id) if removed is not None else None
    if path is None or path in checked:
        return
    checked.add(path)
    if path not in files:
        _check_file(where, path, None, files, report)
        return
    with report.reading(f"{where}, {path}"):
        left = fragment.scanner(columns=[], with_row_id=True).to_table().num_rows
        if left != fragment.count_rows():
            sentence = f"its file {path} leaves {left:,} rows instead of {fragment.count_rows():,}"
            report.disagree("file", where, sentence)


def _check_file(
    where: str, path: str, size: int | None, files: dict[str, File], report: Report, *, longer: bool = False
) -> None:
    file = files.get(path)
    if file is None:
        report.disagree("file", where, f"its file {path} is gone")
    elif size is not None and (file.num_bytes < size if longer else file.num_bytes != size):
        report.disagree("file", where, f"its file {path} has {file.num_bytes:,} bytes instead of {size:,}")


def _blobs(ds: lance.LanceDataset, checked: set[str]) -> Iterator[tuple[str, int]]:
    """The files of larger images, and the bytes that they must have at least; each file once."""
    stems = {fragment: path.removesuffix(".lance") for fragment, path in image_files(ds).items()}
    beside = {fragment: name for fragment, name in stems.items() if f"{name}/" not in checked}
    checked.update(f"{name}/" for name in beside.values())
    if not beside:
        return
    for (fragment, blob), size in _sizes(ds, list(beside)).items():
        # Lance names them by their number, its bits from the lowest to the highest.
        yield f"{DATA}/{beside[fragment]}/{format(blob, '032b')[::-1]}.blob", size


def image_files(ds: lance.LanceDataset) -> dict[int, str]:
    """The data file of each fragment that holds its images, or leads to those that lie beside it."""
    field = next(field.id() for field in ds.lance_schema.fields() if field.name() == IMAGE)
    return {
        fragment.fragment_id: file.path
        for fragment in ds.get_fragments()
        for file in fragment.metadata.files
        if field in file.fields
    }


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
