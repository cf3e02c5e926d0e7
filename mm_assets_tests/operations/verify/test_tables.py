"""Tables that somebody outside wrote, dropped, or wrote over; commits in the name of runs."""

import shutil
from collections.abc import Callable

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.lake.upkeep.cleanup import Version, versions_of
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.settings import CurateSettings
from mm_assets.stages.curate.tables import SFT
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA, prediction_key
from mm_assets_tests.kit.small_lake import LABEL, build_after_dataset, dataset
from mm_assets_tests.kit.verifying import check, forged_step, lines, newest, put, write_dataset


def _append(tables: Lake) -> None:
    ds = tables.open(PREDICTIONS)
    row = ds.to_table(limit=1).to_pylist()[0] | {"image_id": "forged.png"}
    row["id"] = prediction_key(row["image_id"], row["sha256"], row["model_digest"], row["prompt_digest"])
    lance.write_dataset(pa.Table.from_pylist([row], schema=pa.schema(list(ds.schema))), ds, mode="append")


OUTSIDE: dict[str, tuple[str, Callable[[Lake], object]]] = {
    "append": (PREDICTIONS, _append),
    "delete": (IMAGES, lambda tables: tables.open(IMAGES).delete("label = 'pool'")),
    "update": (SFT, lambda tables: tables.open(SFT).update({"split": "'train'"}, where="split = 'test'")),
    "column": (IMAGES, lambda tables: tables.open(IMAGES).add_columns([pa.field("mine", pa.int8())])),
    "index": (SFT, lambda tables: tables.open(SFT).create_scalar_index("label", "BTREE")),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_table_written_outside(whole: Lake, what: str) -> None:
    table, write = OUTSIDE[what]
    before = whole.open(table).version
    write(whole)
    all_lines = lines(whole)
    assert any(line.startswith(f"commit: {table}@v{before + 1}: ") and "made outside" in line for line in all_lines)
    assert all(line.startswith(("commit: ", "prediction: ")) for line in all_lines)


def test_a_table_written_over_is_no_table_of_the_lake(whole: Lake) -> None:
    rows = whole.open(SFT).to_table()
    lance.write_dataset(rows.replace_schema_metadata(None), whole.uri(SFT), mode="overwrite")
    report = check(whole)
    assert any(item.where == f"{SFT}@v{whole.open(SFT).version}" for item in report.disagreements)
    assert report.expected_leftovers["materializations of tables that were dropped since"] == 1


def test_a_table_that_was_dropped_is_history_when_all_was_made_again(whole: Lake) -> None:
    lost = newest(whole, "sft_dataset")
    shutil.rmtree(whole.uri(SFT))
    (line, *more) = lines(whole)
    sentence = "sft.lance was dropped, or written over; its materialized versions cannot be read"
    assert line == f"version: sft_dataset {lost.data_version}: {sentence}"
    dataset(whole, CurateSettings(tasks=[LABEL]))
    assert lines(whole) == more  # the model still is of the old one
    checkpoint = newest(whole, "llava_checkpoint").data_version
    sentence = f"leads back to sft_dataset {lost.data_version}, whose table was dropped since"
    assert more[0] == f"version: llava_checkpoint {checkpoint}: {sentence}"
    assert len(more) == 3  # and what the model has judged and predicted
    build_after_dataset(whole)
    report = check(whole)
    assert report.disagreements == []
    assert report.expected_leftovers["materializations of tables that were dropped since"] == 1


def test_a_commit_in_the_name_of_a_run_that_had_finished(whole: Lake) -> None:
    record = newest(whole, "batch_predictions")
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0] | {"answer": "forged"}
    put(whole, PREDICTIONS, PREDICTIONS_SCHEMA, "id", row, forged_step(record))
    version = whole.open(PREDICTIONS).version
    assert lines(whole) == [
        f"commit: {PREDICTIONS}@v{version}: a commit of batch_predictions by run {record.run_id}, which had "
        f"materialized it at v{record.ref.version}"
    ]


def test_a_batch_of_a_run_that_was_cut_off_is_named(whole: Lake) -> None:
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0]
    step = forged_step(newest(whole, "batch_predictions"), run_id="cut-off")
    put(whole, PREDICTIONS, PREDICTIONS_SCHEMA, "id", row, step)
    report = check(whole)
    assert report.expected_leftovers["commits of runs that did not finish"] == 1
    assert [item.kind for item in report.disagreements] == []


def test_a_table_that_goes_away_while_it_is_looked_at(whole: Lake) -> None:
    lake = LakeSnapshot(whole, Report())
    assert not lake.was_written_since()
    shutil.rmtree(whole.uri(SFT))
    assert lake.was_written_since()


def test_a_row_of_the_history_that_comes_while_the_tables_are_read(
    whole: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs publish after the history was read: of these the first would be a record that is missing."""
    waiting = [write_dataset, write_dataset]

    def slow(ds: lance.LanceDataset) -> list[Version]:
        while waiting:
            waiting.pop()(whole)
        return versions_of(ds)

    monkeypatch.setattr("mm_assets.operations.verify.lake.versions_of", slow)
    assert lines(whole) == []


def test_a_commit_of_another_tables_assets(whole: Lake) -> None:
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0]
    step = forged_step(newest(whole, "image_table"), run_id="mine")
    put(whole, PREDICTIONS, PREDICTIONS_SCHEMA, "id", row, step)
    version = whole.open(PREDICTIONS).version
    (line,) = lines(whole)
    assert line.startswith(f"commit: predictions@v{version}: Update, made outside: ")
