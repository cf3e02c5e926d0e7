"""The history: rows that were taken out or changed, and what looks like it and is none."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.history.history import History
from mm_assets.history.publish import publish
from mm_assets.history.rows import SCHEMA as LINEAGE_SCHEMA
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.operations.upkeep.job import maintain
from mm_assets.operations.verify.newest import verify_newest
from mm_assets.operations.verify.rules.events import Event
from mm_assets.settings import CurateSettings, UpkeepSettings
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets.stages.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA
from mm_assets_tests.kit.lake_rows import expiries
from mm_assets_tests.kit.small_lake import LABEL, dataset, photos, store
from mm_assets_tests.kit.steps import run_step
from mm_assets_tests.kit.verifying import (
    check,
    forged_step,
    lines,
    newest,
    put,
    put_back,
    quiet,
    write_dataset,
)


def rewrite(tables: Lake, record: Record, **changed: Any) -> None:
    """Change a row of the history, by a commit that looks like one of ours."""
    ds = tables.open(LINEAGE)
    row = ds.to_table(filter=f"id = '{record.id}'").to_pylist()[0] | changed
    fragments = write_fragments(tables, LINEAGE, pa.Table.from_pylist([row], schema=LINEAGE_SCHEMA))
    commit(tables, LINEAGE, lambda head: replace_rows(head, "id", [record.id], fragments), {"mm.run_id": record.run_id})


def test_a_record_that_was_taken_out(whole: Lake) -> None:
    record = newest(whole, "base_model")
    whole.open(LINEAGE).delete(f"id = '{record.id}'")
    all_lines = lines(whole)
    assert f"commit: lineage@v{whole.open(LINEAGE).version}: Delete, made outside" in all_lines[0]
    version = record.data_version
    missing = [line for line in all_lines if line.endswith(f"its input base_model {version} has no record")]
    assert len(missing) == 2  # of the dataset and the checkpoint


def test_a_record_whose_inputs_were_changed(whole: Lake) -> None:
    record, other = newest(whole, "sft_dataset"), newest(whole, "base_model")
    inputs = [{"asset": "base_model", "data_version": other.data_version, "record_id": other.id}]
    rewrite(whole, record, inputs=inputs)
    where = f"{SFT}@v{record.ref.version}"
    all_lines = lines(whole)
    assert f"record: {where}: lineage.lance and the commit differ about sft_dataset: inputs" in all_lines
    assert f"record: sft_dataset {record.data_version}: recorded are other inputs than its commit names" in all_lines


def test_a_record_of_a_version_that_nobody_made(whole: Lake) -> None:
    record = newest(whole, "sft_dataset")
    rewrite(whole, record, version=99, data_version=record.data_version.replace("@v2", "@v99"))
    version = f"sft:{record.ref.table_id[:6]}@v99"
    assert f"version: sft_dataset {version}: cannot be read, and lineage.lance does not say that it expired" in lines(
        whole
    )


def test_a_record_in_the_name_of_another_run(whole: Lake) -> None:
    record = newest(whole, "sft_dataset")
    rewrite(whole, record, run_id="another")
    sentence = f"recorded by run another, its commit is by {record.run_id}"
    assert f"record: sft_dataset {record.data_version}: {sentence}" in lines(whole)


def test_a_record_that_its_commit_alone_has_is_written_by_the_next_run(whole: Lake) -> None:
    """The process died between the commit and the lineage row; in what came after it there is no excuse."""
    record = newest(whole, "batch_predictions")
    put_back(whole)
    assert record.id not in History.read(whole).records
    tag = f"batch_predictions.v{record.ref.version}"
    cut_off = "tags of versions whose materialization was cut off"
    result = check(whole)
    assert (result.disagreements, result.expected_leftovers[cut_off]) == ([], 1)
    whole.open(PREDICTIONS).tags.delete(tag)  # it may die before the tag, too
    result = check(whole)
    assert (result.disagreements, result.expected_leftovers[cut_off]) == ([], 0)
    assert result.expected_leftovers["records that the asset's next run will write"] == 1
    run_step(whole, lambda step: StepResult({"rows": 16}), "batch_predictions", inputs=("image_table", "evaluation"))
    assert +check(whole).expected_leftovers == {}
    assert History.read(whole).records[record.id] == record


def test_expired_versions_are_expected_and_upkeep_is_no_forgery(whole: Lake) -> None:
    for words in ("one", "two", "three"):
        dataset(whole, CurateSettings(tasks=[LABEL.model_copy(update={"prompt": words})]))
    settings = UpkeepSettings(keep_last=1, grace_seconds=0, scratch_seconds=0)
    done = maintain(whole, settings, "night", quiet)
    assert done.changed
    report = check(whole, deep=True)
    assert report.disagreements == []
    # Of four: one is the newest, one its start, one a model's.
    assert report.expected_leftovers["expired versions"] == 1
    assert not maintain(whole, settings, "next-night", quiet).changed


def test_what_another_run_wrote_is_recorded_as_reused(whole: Lake) -> None:
    """Two runs overlap: one finds that the other has done its work."""
    inner: list[Record] = []

    def job(step: StepContext) -> StepResult:
        inner.append(dataset(whole, CurateSettings(tasks=[LABEL.model_copy(update={"prompt": "another"})])))
        return StepResult(inner[0].metadata, Progress(confirmed_at=inner[0].ref.version))

    outer: list[Record] = []

    def racing(step: StepContext) -> dict[str, StepResult]:
        outer.append(publish(History.read(whole), step, "sft_dataset", job(step)))
        return {"sft_dataset": StepResult(outer[0].metadata)}

    run_step(whole, racing, "sft_dataset", inputs=("image_table", "base_model"))
    assert outer[0].ref == inner[0].ref
    assert (outer[0].reused, inner[0].reused) == (True, False)
    assert lines(whole) == []


def test_the_history_is_gone(whole: Lake) -> None:
    """Several runs have written records."""
    shutil.rmtree(whole.uri(LINEAGE))
    result = lines(whole)
    for asset in ("image_table", "base_model", "sft_dataset", "llava_checkpoint", "evaluation", "batch_predictions"):
        assert any(line.startswith("record: ") and f" the record of {asset} that the commit" in line for line in result)


def test_an_older_copy_of_the_history_was_put_back(whole: Lake) -> None:
    """A run that is killed leaves one record out of the history, and nothing was made from it."""
    lost = [write_dataset(whole), write_dataset(whole)]
    put_back(whole, 2)
    (line,) = lines(whole)
    sentence = f"the record of sft_dataset that the commit carries ({lost[0].id}) is not in lineage.lance"
    assert line == f"record: sft@v{lost[0].ref.version}: {sentence}"
    put_back(whole)
    assert f"({newest(whole, 'evaluation').id})" not in "".join(lines(whole))
    put_back(whole)
    assert any(line.endswith(", nor are those of its inputs evaluation") for line in lines(whole))


def test_a_first_run_that_was_killed_before_its_lineage_row(tables: Lake) -> None:
    """There is no history at all yet."""
    store(tables, photos())
    shutil.rmtree(tables.uri(LINEAGE))
    report = check(tables)
    assert report.disagreements == []
    assert report.expected_leftovers["records that the asset's next run will write"] == 5


DAMAGED = {"inputs": None, "metadata": "{", "watermarks": "[]", "at": None, "run_id": None, "kind": "another"}


@pytest.mark.parametrize("column", DAMAGED)
def test_a_row_that_cannot_be_understood_is_told_and_the_rest_is_looked_at(whole: Lake, column: str) -> None:
    record = newest(whole, "batch_predictions")
    whole.open(SFT).delete("split = 'test'")
    rewrite(whole, record, **{column: DAMAGED[column]})
    all_lines = lines(whole)
    assert any(line.startswith(f"record: lineage, row {record.id}: says nothing that can") for line in all_lines)
    assert any(line.startswith(f"commit: {SFT}@v3: Delete, made outside") for line in all_lines)


def test_a_row_that_says_two_things(whole: Lake) -> None:
    record = newest(whole, "batch_predictions")
    rewrite(whole, record, data_version="sft:000000@v2", uri="/elsewhere")
    where = f"record: lineage, row {record.id}"
    all_lines = lines(whole)
    assert f"{where}: its data_version is sft:000000@v2 instead of {record.data_version}" in all_lines
    assert f"{where}: its uri is /elsewhere instead of predictions.lance" in all_lines


def test_a_history_that_cannot_be_read_or_is_none(whole: Lake) -> None:
    (manifest, *_) = sorted(Path(whole.uri(LINEAGE), "_versions").glob("*.manifest"))
    manifest.write_bytes(b"nothing of a manifest")
    assert any(line.startswith("version: lineage: cannot be read: ") for line in lines(whole))
    shutil.rmtree(whole.uri(LINEAGE))
    lance.write_dataset(pa.table({"id": ["mine"]}), whole.uri(LINEAGE))
    assert any("lineage: cannot be read: " in line and "no column asset any more" in line for line in lines(whole))


@pytest.mark.parametrize("text", ["{", "5", '["x"]', '[{"id": 5}]', "[null]"])
def test_a_commit_whose_records_cannot_be_understood(whole: Lake, text: str) -> None:
    step = forged_step(newest(whole, "sft_dataset"), run_id="forged")
    row = whole.open(SFT).to_table(limit=1).to_pylist()[0]
    fragments = write_fragments(whole, SFT, pa.Table.from_pylist([row], schema=SFT_SCHEMA))
    properties = step.properties(["sft_dataset"], 1) | {"mm.records": text, "mm.inputs": text}
    commit(whole, SFT, lambda ds: replace_rows(ds, "example_id", [row["example_id"]], fragments), properties)
    records_line, inputs_line = sorted(lines(whole), reverse=True)
    assert records_line.startswith("record: sft@v3, mm.records: says nothing that can be understood: ")
    assert inputs_line == "commit: sft@v3: its mm.inputs cannot be understood"


def test_metadata_may_hold_what_is_not_equal_to_itself(whole: Lake) -> None:
    write_dataset(whole, loss=math.nan)
    assert lines(whole) == []


def batches(tables: Lake, run_id: str, count: int) -> None:
    """Commits of a run that exceeds its error budget: the rows stay, no record is made."""
    record = newest(tables, "batch_predictions")
    for number in range(count):
        row = tables.open(PREDICTIONS).to_table(limit=1).to_pylist()[0] | {"answer": f"{number}"}
        put(tables, PREDICTIONS, PREDICTIONS_SCHEMA, "id", row, forged_step(record, run_id=run_id))


def again(tables: Lake, meanwhile: Callable[[], None] = lambda: None) -> Record:
    """A run that finds nothing to do, and looks at the table before something else happens."""

    def job(step: StepContext) -> StepResult:
        confirmed_at = tables.open(PREDICTIONS).version
        meanwhile()
        return StepResult({"rows": 16}, Progress(confirmed_at=confirmed_at))

    return run_step(tables, job, "batch_predictions", inputs=("image_table", "evaluation"))["batch_predictions"]


def test_a_commit_without_a_record_that_the_next_run_reuses(whole: Lake) -> None:
    """Also where another run goes on meanwhile, and after it expired."""
    batches(whole, "over-budget", 2)
    reused = again(whole, lambda: batches(whole, "overlapping", 1))
    head = whole.open(PREDICTIONS).version
    assert (reused.reused, reused.ref.version) == (True, head - 1)
    assert again(whole).ref.version == head
    assert lines(whole) == []
    maintain(whole, UpkeepSettings(keep_last=1, grace_seconds=0, scratch_seconds=0), "night", quiet)
    report = check(whole)
    assert report.disagreements == []
    assert (reused.asset, reused.ref) in {(item.asset, item.ref) for item in expiries(whole)}


def event_of(record: Record) -> Event:
    return Event(record.asset, 1, record.run_id, record.id, record.data_version, record.read, record.ref.table, None)


def test_a_record_that_reuses_a_batch_in_the_middle(whole: Lake) -> None:
    batches(whole, "over-budget", 2)
    record = again(whole)
    batch = replace(record.ref, version=record.ref.version - 1)
    forged = replace(record, id="forged", ref=batch)
    History.read(whole).append(forged)
    whole.open(PREDICTIONS).tags.create(f"batch_predictions.v{batch.version}", batch.version)
    sentence = (
        f"reuses what no materialization before it names, though v{record.ref.version} of the asset was there already"
    )
    assert lines(whole) == [f"record: batch_predictions {forged.data_version}: {sentence}"]
    report, looked_at = verify_newest(whole, "batch_predictions", event_of(forged))
    assert looked_at == forged
    (disagreement,) = report.disagreements
    assert str(disagreement) == f"batch_predictions {forged.data_version}: {sentence}"
