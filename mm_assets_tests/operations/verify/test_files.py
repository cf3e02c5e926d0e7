"""Files of tables, images and models that are missing, cut or changed."""

import hashlib
import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.history.maintenance import maintaining
from mm_assets.history.rows import ALL_TABLES
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.operations.verify.rules.files import image_files
from mm_assets.stages.curate.tables import SFT
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.tables import PREDICTIONS
from mm_assets_tests.kit.steps import run_step
from mm_assets_tests.kit.verifying import check, forged_step, lines, newest, write_dataset


def data_file(tables: Lake, table: str) -> Path:
    """A data file of the newest version."""
    (file, *_) = tables.open(table).get_fragments()[-1].metadata.files
    return Path(tables.uri(table), "data", file.path)


def test_a_file_that_is_gone_or_cut(whole: Lake) -> None:
    lost_file, cut = data_file(whole, PREDICTIONS), data_file(whole, SFT)
    lost_file.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    with pytest.raises((OSError, ValueError)):
        whole.open(PREDICTIONS).to_table()
    all_lines = lines(whole)
    assert any(line.endswith(f"its file data/{lost_file.name} is gone") for line in all_lines)
    assert any(line.startswith(f"version: {PREDICTIONS}: cannot be read: ") for line in all_lines)
    size = cut.stat().st_size
    assert any(
        line.endswith(f"its file data/{cut.name} has {size:,} bytes instead of {size + 7:,}") for line in all_lines
    )


def test_a_version_that_cannot_be_opened(whole: Lake) -> None:
    (manifest, *_) = sorted(Path(whole.uri(SFT), "_versions").glob("*.manifest"))
    manifest.write_bytes(b"nothing of a manifest")
    all_lines = lines(whole)
    assert any(line.startswith(f"version: {SFT}: cannot be read: ") for line in all_lines)


def large(tables: Lake, step: StepContext) -> None:
    """Give an image so many bytes that they lie in a file of their own."""
    data = b"x" * 70_000
    row = {"image_id": "large.png", "sha256": hashlib.sha256(data).hexdigest(), "image": data, "num_bytes": len(data)}
    ds = tables.open(IMAGES)
    columns = {name: [row.get(name)] for name in ds.schema.names}
    table = pa.table({**columns, "image": lance.blob_array(columns["image"])}, schema=pa.schema(list(ds.schema)))
    fragments = write_fragments(tables, IMAGES, table)
    properties = step.properties(["image_table"], 1)
    commit(tables, IMAGES, lambda head: replace_rows(head, "image_id", ["large.png"], fragments), properties)


def test_the_file_of_a_large_image_that_is_gone_or_cut(whole: Lake) -> None:
    large(whole, forged_step(newest(whole, "image_table"), run_id="large"))
    (file,) = Path(whole.uri(IMAGES), "data").glob("*/*.blob")
    assert lines(whole) == []
    name = f"data/{file.parent.name}/{file.name}"
    version = whole.open(IMAGES).version
    file.write_bytes(file.read_bytes()[:-1])
    assert lines(whole) == [f"file: images@v{version}: its file {name} has 69,999 bytes instead of 70,000"]
    file.unlink()
    assert lines(whole) == [f"file: images@v{version}: its file {name} is gone"]


def test_bytes_of_an_image_that_were_changed_are_found_by_reading_them(whole: Lake) -> None:
    (first, *_) = whole.open(IMAGES).scanner(columns=["image_id"], with_row_id=True).to_table().to_pylist()
    ((_, data),) = whole.open(IMAGES).read_blobs("image", ids=[first["_rowid"]])
    file = data_file(whole, IMAGES)
    whole_file = file.read_bytes()
    assert whole_file.count(data) == 1
    file.write_bytes(whole_file.replace(data, data[:-1] + bytes([data[-1] ^ 1])))
    assert lines(whole) == []
    (line,) = lines(whole, deep=True)
    assert line == f"image: {newest(whole, 'image_table').ref}, {first['image_id']}: its bytes do not have its digest"


def test_bytes_that_a_compaction_has_copied_are_read_in_both_files(whole: Lake) -> None:
    """The rows keep their ids, and an older version that is promised reads the old file."""
    old = data_file(whole, IMAGES)
    ((_, data), *_) = whole.open(IMAGES).read_blobs("image", ids=[0])
    record = materialize_large(whole)
    with maintaining(whole, IMAGES, "night", "maintenance") as begin:
        begin()
        whole.open(IMAGES).optimize.compact_files()
    materialize_large(whole)
    assert old not in {Path(whole.uri(IMAGES), "data", path) for path in image_files(whole.open(IMAGES)).values()}
    report = check(whole, deep=True)
    assert (report.disagreements, report.looked_at["images hashed"]) == ([], 16 + 17 + 1)
    old.write_bytes(old.read_bytes().replace(data, data[:-1] + bytes([data[-1] ^ 1])))
    (line,) = lines(whole, deep=True)
    assert line.startswith(f"image: {record.ref}, ")


def materialize_large(tables: Lake) -> Record:
    def job(step: StepContext) -> StepResult:
        large(tables, step)
        return StepResult({"rows": 17})

    return run_step(tables, job, "image_table")["image_table"]


def test_a_list_of_removed_rows_that_was_replaced_or_damaged(whole: Lake) -> None:
    record = [write_dataset(whole), write_dataset(whole)]
    first, second = sorted(Path(whole.uri(SFT), "_deletions").glob("*"), key=lambda path: path.stat().st_mtime)
    whole_file = second.read_bytes()
    second.write_bytes(first.read_bytes())
    where = f"sft@v{record[1].ref.version}"
    name = f"_deletions/{second.name}"
    assert f"file: {where}: its file {name} leaves 15 rows instead of 14" in lines(whole)
    second.write_bytes(b"nothing")
    assert any(line.startswith(f"version: {where}, {name}: cannot be read: ") for line in lines(whole))
    second.write_bytes(whole_file)
    assert lines(whole) == []


def test_a_file_is_counted_once(whole: Lake) -> None:
    """Also that of an image table, whose larger images lie in a folder beside it."""
    files = [path for name in ALL_TABLES for path in Path(whole.uri(name), "data").rglob("*.lance")]
    assert check(whole).looked_at["files"] == len(files)


def test_a_model_whose_registry_row_is_damaged(whole: Lake) -> None:
    digest = str(newest(whole, "base_model").metadata["digest"])
    whole.open("models").update({"num_bytes": "null"}, where=f"digest = '{digest}'")
    sentence = "the registry does not say how many bytes its files have"
    assert f"model: models/{digest}: {sentence}" in lines(whole)


def test_a_model_whose_files_are_others_or_gone(whole: Lake) -> None:
    trained = str(newest(whole, "llava_checkpoint").metadata["digest"])
    base = str(newest(whole, "base_model").metadata["digest"])
    weights = Path(whole.root, "models", trained, "config.json")
    weights.write_text(weights.read_text() + " ")
    shutil.rmtree(Path(whole.root, "models", base))
    all_lines = sorted(lines(whole))
    assert len(all_lines) == 2
    assert any(line.startswith(f"model: models/{trained}: its files have the digest ") for line in all_lines)
    assert f"model: models/{base}: its files are gone" in all_lines
