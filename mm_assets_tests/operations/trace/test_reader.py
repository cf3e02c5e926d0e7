"""One question to many versions: the same rows as each version's own filter finds, and shared files are read once."""

from typing import Any

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.cells import add_columns, write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import is_in, replace_rows, rows_by_key
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.operations.trace.reader import Reader
from mm_assets_tests.kit.lake_rows import image_row, plain, write_images

WANTED = is_in("image_id", ["a", "b", "c"])


def versions(tables: Lake) -> list[int]:
    """Three versions: of two fragments, with a score written to each row, and with one row replaced."""
    write_images(tables, [image_row(name, "x", plain("red")) for name in ("a", "b", "z")])
    write_images(tables, [image_row(name, "x", plain("blue")) for name in ("c", "y")])
    versions = [tables.open("images").version]
    commit(tables, "images", lambda ds: add_columns(ds, [pa.field("score", pa.float32())]), {})
    rows = rows_by_key(tables.open("images"), "image_id", ["a", "b", "c"])
    cells = pa.table({"_rowid": rows["_rowid"], "score": pa.array([1.0] * 3, pa.float32())})
    commit(tables, "images", lambda ds: write_cells(ds, cells), {})
    versions.append(tables.open("images").version)
    old = rows_by_key(tables.open("images"), "image_id", ["b"], ["label"])
    schema = pa.schema(
        [field for field in tables.open("images").schema if field.name in ("image_id", "label", "sha256")]
    )
    new = pa.table({"image_id": old["image_id"], "label": ["new"], "sha256": ["new"]}, schema=schema)
    fragments = write_fragments(tables, "images", new)
    commit(tables, "images", lambda ds: replace_rows(ds, "image_id", ["b"], fragments), {})
    return [*versions, tables.open("images").version]


@pytest.mark.parametrize("order", [1, -1])
def test_each_version_has_its_own_rows(tables: Lake, order: int) -> None:
    reader = Reader(WANTED, ["image_id", "label", "sha256"])
    labels = set()
    for version in versions(tables)[::order]:
        ds = tables.open("images", version)
        expected = ds.scanner(columns=["image_id", "label", "sha256"], filter=WANTED, with_row_id=True).to_table()
        rows = sorted(reader.rows(ds), key=lambda row: row["image_id"])
        assert rows == expected.sort_by("image_id").to_pylist()
        labels.add(tuple(row["label"] for row in rows))
    assert labels == {("x", "x", "x"), ("x", "new", "x")}


def test_a_fragment_that_versions_share_is_read_once(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before, scored, replaced = versions(tables)
    reader = Reader(WANTED, ["image_id", "label"])
    reads: list[int] = []
    read = Reader._read

    def counted(self: Reader, ds: lance.LanceDataset, states: dict[int, Any], fragments: list[Any] | None) -> None:
        reads.append(len(fragments if fragments is not None else states))
        read(self, ds, states, fragments)

    monkeypatch.setattr(Reader, "_read", counted)
    for version in (replaced, scored, before):
        reader.rows(tables.open("images", version))
    # The two fragments and the new row; then the first fragment with the row that was taken out of it.
    assert reads == [3, 1]
