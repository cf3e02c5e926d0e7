"""Tags that protect versions, and the one of the model in production."""

from pathlib import Path

import pyarrow as pa

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.stages.curate.tables import SFT
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets_tests.kit.steps import run_step
from mm_assets_tests.kit.verifying import check, lines, newest, put_back


def test_a_tag_that_is_gone_or_was_moved(whole: Lake) -> None:
    dataset_tag, table_tag = "sft_dataset.v2", "image_table.v2"
    whole.open(SFT).tags.delete(dataset_tag)
    whole.open(IMAGES).tags.update(table_tag, 1)
    whole.open(IMAGES).tags.create("paper", 1)
    version = newest(whole, "sft_dataset").data_version
    assert lines(whole) == [
        f"tag: {SFT}, {dataset_tag}: is missing: a clean-up may remove sft_dataset {version}",
        f"tag: {IMAGES}, {table_tag}: stands at version 1",
    ]


def promoted(tables: Lake, digest: str) -> None:
    """An evaluation that says that a model is in production."""

    def job(step: StepContext) -> StepResult:
        row = {"id": "e/1", "challenger": digest, "champion": digest, "promoted": True, "production": digest}
        row["at"] = step.inputs["llava_checkpoint"].at.replace(year=2100)
        final = StepResult({"rows": 1, "promoted": True})
        fragments = write_fragments(tables, EVALUATIONS, pa.Table.from_pylist([row], schema=EVALUATIONS_SCHEMA))
        properties = step.properties(["evaluation"], 1, {"evaluation": final})
        commit(tables, EVALUATIONS, lambda ds: replace_rows(ds, "id", [], fragments), properties)
        return final

    run_step(tables, job, "evaluation", inputs=("llava_checkpoint",))


def test_the_tag_of_the_model_in_production(whole: Lake) -> None:
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


def test_an_evaluation_that_was_killed_before_its_tag(whole: Lake) -> None:
    """The next one sets it, and writes the record."""
    checkpoint = newest(whole, "llava_checkpoint")
    promoted(whole, str(checkpoint.metadata["digest"]))
    put_back(whole)
    result = check(whole)
    assert result.disagreements == []
    assert result.expected_leftovers["tags of production that the next evaluation will set"] == 1


def test_a_tag_of_a_version_that_nobody_materialized(whole: Lake) -> None:
    whole.open(SFT).tags.create("sft_dataset.v1", 1)
    assert lines(whole) == ["tag: sft, sft_dataset.v1: protects a version that nobody materialized"]


def test_a_tag_that_is_damaged(whole: Lake) -> None:
    Path(whole.uri(SFT), "_refs", "tags", "sft_dataset.v2.json").write_text("{")
    (line,) = lines(whole)
    assert line.startswith("version: sft, tags: cannot be read: ")
