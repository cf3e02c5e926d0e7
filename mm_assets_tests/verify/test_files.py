"""Files of tables, images and models that are gone, cut or changed."""

import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from mm_assets.curate.tables import SFT
from mm_assets.engines.lance_commits import commit, put_rows
from mm_assets.engines.lance_tables import LakeTables, write_fragments
from mm_assets.ingest.tables import IMAGES
from mm_assets.predict.tables import PREDICTIONS
from mm_assets_tests.verify.checking import forged_step, lines, newest


def data_file(tables: LakeTables, table: str) -> Path:
    """A data file of the newest version."""
    (file, *_) = tables.open(table).get_fragments()[-1].metadata.files
    return Path(tables.uri(table), "data", file.path)


def test_a_file_that_is_gone_or_cut(whole: LakeTables) -> None:
    gone, cut = data_file(whole, PREDICTIONS), data_file(whole, SFT)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    with pytest.raises((OSError, ValueError)):
        whole.open(PREDICTIONS).to_table()
    found = lines(whole)
    assert any(line.endswith(f"its file data/{gone.name} is gone") for line in found)
    assert any(line.startswith(f"version: {PREDICTIONS}: cannot be read: ") for line in found)
    size = cut.stat().st_size
    assert any(line.endswith(f"its file data/{cut.name} has {size:,} bytes instead of {size + 7:,}") for line in found)


def test_a_version_that_cannot_be_opened(whole: LakeTables) -> None:
    (manifest, *_) = sorted(Path(whole.uri(SFT), "_versions").glob("*.manifest"))
    manifest.write_bytes(b"nothing of a manifest")
    found = lines(whole)
    assert any(line.startswith(f"version: {SFT}: cannot be read: ") for line in found)


def large(tables: LakeTables) -> Path:
    """Give an image so many bytes that they lie in a file of their own; that file."""
    row = {"image_id": "large.png", "sha256": "x", "image": b"x" * 70_000, "num_bytes": 70_000}
    record = newest(tables, "image_table")
    ds = tables.open(IMAGES)
    columns = {name: [row.get(name)] for name in ds.schema.names}
    table = pa.table({**columns, "image": lance.blob_array(columns["image"])}, schema=pa.schema(list(ds.schema)))
    fragments = write_fragments(tables, IMAGES, table)
    step = forged_step(record, run_id="large")
    commit(tables, IMAGES, lambda head: put_rows(head, "image_id", [], fragments), step.properties(["image_table"], 1))
    (file,) = Path(tables.uri(IMAGES), "data").glob("*/*.blob")
    return file


def test_the_file_of_a_large_image_that_is_gone_or_cut(whole: LakeTables) -> None:
    file = large(whole)
    assert lines(whole) == []
    name = f"data/{file.parent.name}/{file.name}"
    version = whole.open(IMAGES).version
    file.write_bytes(file.read_bytes()[:-1])
    assert lines(whole) == [f"file: images@v{version}: its file {name} has 69,999 bytes instead of 70,000"]
    file.unlink()
    assert lines(whole) == [f"file: images@v{version}: its file {name} is gone"]


def test_bytes_of_an_image_that_were_changed_are_found_by_reading_them(whole: LakeTables) -> None:
    (first, *_) = whole.open(IMAGES).scanner(columns=["image_id"], with_row_id=True).to_table().to_pylist()
    ((_, data),) = whole.open(IMAGES).read_blobs("image", ids=[first["_rowid"]])
    file = data_file(whole, IMAGES)
    whole_file = file.read_bytes()
    assert whole_file.count(data) == 1
    file.write_bytes(whole_file.replace(data, data[:-1] + bytes([data[-1] ^ 1])))
    assert lines(whole) == []
    (line,) = lines(whole, deep=True)
    assert line == f"image: {newest(whole, 'image_table').ref}, {first['image_id']}: its bytes do not have its digest"


def test_a_model_whose_files_are_others_or_gone(whole: LakeTables) -> None:
    trained = str(newest(whole, "llava_checkpoint").metadata["digest"])
    base = str(newest(whole, "base_model").metadata["digest"])
    weights = Path(whole.root, "models", trained, "config.json")
    weights.write_text(weights.read_text() + " ")
    shutil.rmtree(Path(whole.root, "models", base))
    found = sorted(lines(whole))
    assert len(found) == 2
    assert any(line.startswith(f"model: models/{trained}: its files have the digest ") for line in found)
    assert f"model: models/{base}: its files are gone" in found
