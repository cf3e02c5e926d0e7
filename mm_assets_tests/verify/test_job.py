"""A quiet lake has no disagreement; every kind of forgery is one, and is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from mm_assets.curate.tables import SFT, SFT_SCHEMA
from mm_assets.engines.lance_commits import commit, put_rows
from mm_assets.engines.lance_tables import LakeTables, write_fragments
from mm_assets.engines.lineage_rows import SCHEMA as LINEAGE_SCHEMA
from mm_assets.engines.lineage_rows import TABLE as LINEAGE
from mm_assets.engines.lineage_table import records
from mm_assets.engines.publication import publish
from mm_assets.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets.ingest.tables import IMAGES
from mm_assets.lineage.refs import Final, Record, Step
from mm_assets.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA, prediction_key
from mm_assets.settings import CurateSettings, UpkeepSettings
from mm_assets.upkeep.job import maintain
from mm_assets.verify.job import verify
from mm_assets.verify.report import Report
from mm_assets_tests.small_lake import LABEL, dataset
from mm_assets_tests.steps import run_step
from mm_assets_tests.verify.conftest import build_after_dataset


def quiet(_: str) -> None:
    """Nobody listens."""


def check(tables: LakeTables, *, deep: bool = False) -> Report:
    return verify(tables, quiet, deep=deep)


def lines(tables: LakeTables, *, deep: bool = False) -> list[str]:
    return [f"{item.kind}: {item}" for item in check(tables, deep=deep).disagreements]


def newest(tables: LakeTables, asset: str) -> Record:
    return next(record for record in reversed(records(tables).values()) if record.asset == asset)


def test_a_quiet_lake_holds(whole: LakeTables) -> None:
    found = check(whole, deep=True)
    assert found.disagreements == []
    looked_at = ("materializations", "examples", "predictions", "images hashed", "models")
    assert [found.looked_at[name] for name in looked_at] == [10, 16, 16, 16, 2]
    assert +found.named == {}


def test_an_empty_lake_holds(tables: LakeTables) -> None:
    assert check(tables, deep=True).disagreements == []


# --- a table


def _append(tables: LakeTables) -> None:
    ds = tables.open(PREDICTIONS)
    row = ds.to_table(limit=1).to_pylist()[0] | {"image_id": "forged.png"}
    row["id"] = prediction_key(row["image_id"], row["sha256"], row["model_digest"], row["prompt_digest"])
    lance.write_dataset(pa.Table.from_pylist([row], schema=pa.schema(list(ds.schema))), ds, mode="append")


OUTSIDE: dict[str, tuple[str, Callable[[LakeTables], object]]] = {
    "append": (PREDICTIONS, _append),
    "delete": (IMAGES, lambda tables: tables.open(IMAGES).delete("label = 'pool'")),
    "update": (SFT, lambda tables: tables.open(SFT).update({"split": "'train'"}, where="split = 'test'")),
    "column": (IMAGES, lambda tables: tables.open(IMAGES).add_columns([pa.field("mine", pa.int8())])),
    "index": (SFT, lambda tables: tables.open(SFT).create_scalar_index("label", "BTREE")),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_table_written_outside(whole: LakeTables, what: str) -> None:
    table, write = OUTSIDE[what]
    before = whole.open(table).version
    write(whole)
    found = lines(whole)
    assert any(line.startswith(f"commit: {table}@v{before + 1}: ") and "made outside" in line for line in found)
    assert all(line.startswith(("commit: ", "prediction: ")) for line in found)


def test_a_table_written_over_is_no_table_of_the_lake(whole: LakeTables) -> None:
    rows = whole.open(SFT).to_table()
    lance.write_dataset(rows.replace_schema_metadata(None), whole.uri(SFT), mode="overwrite")
    found = check(whole)
    assert any(item.where == f"{SFT}@v{whole.open(SFT).version}" for item in found.disagreements)
    assert found.named["materializations of tables that were dropped since"] == 1


def test_a_table_that_was_dropped_is_history_when_all_was_made_again(whole: LakeTables) -> None:
    lost = newest(whole, "sft_dataset")
    shutil.rmtree(whole.uri(SFT))
    (line, *more) = lines(whole)
    said = "sft.lance was dropped, or written over; its materialized versions cannot be read"
    assert line == f"version: sft_dataset {lost.data_version}: {said}"
    dataset(whole, CurateSettings(tasks=[LABEL]))
    assert lines(whole) == more  # the model still is of the old one
    checkpoint = newest(whole, "llava_checkpoint").data_version
    said = f"leads back to sft_dataset {lost.data_version}, whose table was dropped since"
    assert more[0] == f"version: llava_checkpoint {checkpoint}: {said}"
    assert len(more) == 3  # and what the model has judged and predicted
    build_after_dataset(whole)
    found = check(whole)
    assert found.disagreements == []
    assert found.named["materializations of tables that were dropped since"] == 1


def forged_step(record: Record, **changed: Any) -> Step:
    """A step that says it is the one of a record."""
    said = {"run_id": record.run_id, "key": record.step, **changed}
    return Step(**said, code_versions={record.asset: "1"}, inputs={}, ancestors={}, own={}, log=print)


def put(tables: LakeTables, table: str, schema: pa.Schema, key: str, row: dict[str, Any], step: Step) -> None:
    asset = next(iter(step.code_versions))
    fragments = write_fragments(tables, table, pa.Table.from_pylist([row], schema=schema))
    commit(tables, table, lambda ds: put_rows(ds, key, [row[key]], fragments), step.properties([asset], 7))


def test_a_commit_in_the_name_of_a_run_that_had_finished(whole: LakeTables) -> None:
    record = newest(whole, "batch_predictions")
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0] | {"answer": "forged"}
    put(whole, PREDICTIONS, PREDICTIONS_SCHEMA, "id", row, forged_step(record))
    version = whole.open(PREDICTIONS).version
    assert lines(whole) == [
        f"commit: {PREDICTIONS}@v{version}: a commit of batch_predictions by run {record.run_id}, which had "
        f"materialized it at v{record.ref.version}"
    ]


def test_a_batch_of_a_run_that_was_cut_off_is_named(whole: LakeTables) -> None:
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0]
    step = forged_step(newest(whole, "batch_predictions"), run_id="cut-off")
    put(whole, PREDICTIONS, PREDICTIONS_SCHEMA, "id", row, step)
    found = check(whole)
    assert found.named["commits of runs that did not finish"] == 1
    assert [item.kind for item in found.disagreements] == []


# --- rows


def test_an_example_of_bytes_that_the_pinned_images_do_not_have(whole: LakeTables) -> None:
    """Also where the commit looks like one of ours."""
    table = whole.open(SFT).to_table()
    (row, *_) = table.to_pylist()
    row["images"][0]["sha256"] = "0" * 64

    def job(step: Step) -> Final:
        fragments = write_fragments(whole, SFT, pa.Table.from_pylist([row], schema=SFT_SCHEMA))
        final = Final({"rows": 16})
        properties = step.properties(["sft_dataset"], 1, {"sft_dataset": final})
        commit(whole, SFT, lambda ds: put_rows(ds, "example_id", [row["example_id"]], fragments), properties)
        return final

    made = run_step(whole, job, "sft_dataset", inputs=("image_table",))["sft_dataset"]
    version = newest(whole, "image_table").ref.version
    (line,) = lines(whole)
    where = f"{made.data_version}, {row['example_id']}"
    assert line == f"example: {where}: names bytes that images@v{version} does not have"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": "0" * 32}, "its key is not the digest of its image, bytes, model and prompt"),
        ({"sha256": "0" * 64}, "names bytes that images@v2 does not have"),
        ({"image_id": "nobody.png"}, "names bytes that images@v2 does not have"),
        ({"model_digest": "f" * 16}, "its model is not in the registry"),
    ],
)
def test_a_prediction_whose_key_does_not_resolve(whole: LakeTables, changed: dict[str, str], said: str) -> None:
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0] | changed
    if "id" not in changed:
        row["id"] = prediction_key(row["image_id"], row["sha256"], row["model_digest"], row["prompt_digest"])
    pinned = newest(whole, "image_table")

    def job(step: Step) -> Final:
        final = Final({"rows": 17})
        properties = step.properties(["batch_predictions"], 1, {"batch_predictions": final})
        fragments = write_fragments(whole, PREDICTIONS, pa.Table.from_pylist([row], schema=PREDICTIONS_SCHEMA))
        commit(whole, PREDICTIONS, lambda ds: put_rows(ds, "id", [], fragments), properties)
        return final

    run_step(whole, job, "batch_predictions", inputs=("image_table", "evaluation"))
    assert pinned.ref.version == 2
    assert lines(whole) == [f"prediction: predictions, {row['id']}: {said}"]


# --- a file


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


# --- a tag


def test_a_tag_that_is_gone_or_was_moved(whole: LakeTables) -> None:
    dataset_tag, table_tag = "sft_dataset.v2", "image_table.v2"
    whole.open(SFT).tags.delete(dataset_tag)
    whole.open(IMAGES).tags.update(table_tag, 1)
    whole.open(IMAGES).tags.create("paper", 1)
    version = newest(whole, "sft_dataset").data_version
    assert lines(whole) == [
        f"tag: {SFT}, {dataset_tag}: is missing: a clean-up may remove sft_dataset {version}",
        f"tag: {IMAGES}, {table_tag}: stands at version 1",
    ]


def promoted(tables: LakeTables, digest: str) -> None:
    """An evaluation that says that a model is in production."""

    def job(step: Step) -> Final:
        row = {"id": "e/1", "challenger": digest, "champion": digest, "promoted": True, "production": digest}
        row["at"] = step.inputs["llava_checkpoint"].at.replace(year=2100)
        final = Final({"rows": 1, "promoted": True})
        fragments = write_fragments(tables, EVALUATIONS, pa.Table.from_pylist([row], schema=EVALUATIONS_SCHEMA))
        properties = step.properties(["evaluation"], 1, {"evaluation": final})
        commit(tables, EVALUATIONS, lambda ds: put_rows(ds, "id", [], fragments), properties)
        return final

    run_step(tables, job, "evaluation", inputs=("llava_checkpoint",))


def test_the_tag_of_the_model_in_production(whole: LakeTables) -> None:
    checkpoint = newest(whole, "llava_checkpoint")
    digest = str(checkpoint.metadata["digest"])
    promoted(whole, digest)
    assert lines(whole) == [f"tag: models, production: in production is {digest}, and the tag is missing"]
    models = whole.open("models")
    models.tags.create("production", newest(whole, "base_model").ref.version)
    (line,) = lines(whole)
    assert line.endswith(f"which does not have {digest}, in production")
    models.tags.update("production", checkpoint.ref.version)
    assert lines(whole) == []


# --- the history


def rewrite(tables: LakeTables, record: Record, **changed: Any) -> None:
    """Change a row of the history, by a commit that looks like one of ours."""
    ds = tables.open(LINEAGE)
    row = ds.to_table(filter=f"id = '{record.id}'").to_pylist()[0] | changed
    fragments = write_fragments(tables, LINEAGE, pa.Table.from_pylist([row], schema=LINEAGE_SCHEMA))
    commit(tables, LINEAGE, lambda head: put_rows(head, "id", [record.id], fragments), {"mm.run_id": record.run_id})


def test_a_record_that_was_taken_out(whole: LakeTables) -> None:
    record = newest(whole, "base_model")
    whole.open(LINEAGE).delete(f"id = '{record.id}'")
    found = lines(whole)
    assert f"commit: lineage@v{whole.open(LINEAGE).version}: Delete, made outside" in found[0]
    version = record.data_version
    missing = [line for line in found if line.endswith(f"its input base_model {version} has no record")]
    assert len(missing) == 2  # of the dataset and the checkpoint


def test_a_record_whose_inputs_were_changed(whole: LakeTables) -> None:
    record, other = newest(whole, "sft_dataset"), newest(whole, "base_model")
    inputs = [{"asset": "base_model", "data_version": other.data_version, "record_id": other.id}]
    rewrite(whole, record, inputs=inputs)
    where = f"{SFT}@v{record.ref.version}"
    found = lines(whole)
    assert f"record: {where}: lineage.lance and the commit differ about sft_dataset: inputs" in found
    assert f"record: sft_dataset {record.data_version}: recorded are other inputs than its commit names" in found


def test_a_record_of_a_version_that_nobody_made(whole: LakeTables) -> None:
    record = newest(whole, "sft_dataset")
    rewrite(whole, record, version=99, data_version=record.data_version.replace("@v2", "@v99"))
    version = f"sft:{record.ref.table_id[:6]}@v99"
    assert f"version: sft_dataset {version}: cannot be read, and nothing says that it was let go" in lines(whole)


def test_a_record_in_the_name_of_another_run(whole: LakeTables) -> None:
    record = newest(whole, "sft_dataset")
    rewrite(whole, record, run_id="another")
    said = f"recorded by run another, its commit is by {record.run_id}"
    assert f"record: sft_dataset {record.data_version}: {said}" in lines(whole)


def test_a_record_that_its_commit_alone_has_is_written_by_the_next_run(whole: LakeTables) -> None:
    """The process died between the commit and the lineage row; in what came after it there is no excuse."""
    record = newest(whole, "batch_predictions")
    ds = whole.open(LINEAGE)
    commit(whole, LINEAGE, lambda head: put_rows(head, "id", [record.id], []), {"mm.run_id": record.run_id})
    assert whole.open(LINEAGE).count_rows() == ds.count_rows() - 1
    whole.open(PREDICTIONS).tags.delete(f"batch_predictions.v{record.ref.version}")
    found = check(whole)
    assert found.disagreements == []
    assert found.named["records that the asset's next run will write"] == 1
    run_step(whole, lambda step: Final({"rows": 16}), "batch_predictions", inputs=("image_table", "evaluation"))
    assert +check(whole).named == {}
    assert records(whole)[record.id] == record


# --- what retention let go, and what others wrote


def test_what_retention_let_go_is_named_and_upkeep_is_no_forgery(whole: LakeTables) -> None:
    for words in ("one", "two", "three"):
        dataset(whole, CurateSettings(tasks=[LABEL.model_copy(update={"prompt": words})]))
    settings = UpkeepSettings(keep_last=1, grace_seconds=0, scratch_seconds=0)
    done = maintain(whole, settings, "night", quiet)
    assert done.changed
    found = check(whole, deep=True)
    assert found.disagreements == []
    assert (
        found.named["versions that retention let go"] == 1
    )  # of four: one is the newest, one its start, one a model's
    assert not maintain(whole, settings, "next-night", quiet).changed


def test_what_another_run_wrote_is_recorded_as_reused(whole: LakeTables) -> None:
    """Two runs overlap: one finds that the other has done its work."""
    inner: list[Record] = []

    def job(step: Step) -> Final:
        inner.append(dataset(whole, CurateSettings(tasks=[LABEL.model_copy(update={"prompt": "another"})])))
        return Final(inner[0].metadata, looked_at=inner[0].ref.version)

    outer: list[Record] = []

    def racing(step: Step) -> dict[str, Final]:
        outer.append(publish(whole, step, "sft_dataset", SFT, job(step)))
        return {"sft_dataset": Final(outer[0].metadata)}

    run_step(whole, racing, "sft_dataset", inputs=("image_table", "base_model"))
    assert outer[0].ref == inner[0].ref
    assert (outer[0].reused, inner[0].reused) == (True, False)
    assert lines(whole) == []


def test_the_report_is_json(whole: LakeTables) -> None:
    _append(whole)
    said = json.loads(json.dumps(check(whole).as_json()))
    assert {item["kind"] for item in said["disagreements"]} == {"commit"}
    assert said["looked_at"]["predictions"] == 17
