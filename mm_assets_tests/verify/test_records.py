"""The history: rows that were taken out or changed, and what looks like it and is none."""

from typing import Any

import pyarrow as pa

from mm_assets.curate.tables import SFT
from mm_assets.engines.lance_commits import commit, put_rows
from mm_assets.engines.lance_tables import LakeTables, write_fragments
from mm_assets.engines.lineage_rows import SCHEMA as LINEAGE_SCHEMA
from mm_assets.engines.lineage_rows import TABLE as LINEAGE
from mm_assets.engines.lineage_table import records
from mm_assets.engines.publication import publish
from mm_assets.lineage.refs import Final, Record, Step
from mm_assets.predict.tables import PREDICTIONS
from mm_assets.settings import CurateSettings, UpkeepSettings
from mm_assets.upkeep.job import maintain
from mm_assets_tests.small_lake import LABEL, dataset
from mm_assets_tests.steps import run_step
from mm_assets_tests.verify.checking import check, lines, newest, quiet


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


def test_what_retention_let_go_is_named_and_upkeep_is_no_forgery(whole: LakeTables) -> None:
    for words in ("one", "two", "three"):
        dataset(whole, CurateSettings(tasks=[LABEL.model_copy(update={"prompt": words})]))
    settings = UpkeepSettings(keep_last=1, grace_seconds=0, scratch_seconds=0)
    done = maintain(whole, settings, "night", quiet)
    assert done.changed
    found = check(whole, deep=True)
    assert found.disagreements == []
    # Of four: one is the newest, one its start, one a model's.
    assert found.named["versions that retention let go"] == 1
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
