"""Examples and predictions that name what is not there."""

import shutil
from typing import Any

import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import CurateSettings
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA, prediction_key
from mm_assets_tests.kit.small_lake import LABEL, dataset, photos, store
from mm_assets_tests.kit.steps import run_step
from mm_assets_tests.kit.verifying import check, lines, newest, write_dataset


def test_an_example_of_bytes_that_the_pinned_images_do_not_have(whole: Lake) -> None:
    """Also where the commit looks like one of ours."""
    table = whole.open(SFT).to_table()
    (row, *_) = table.to_pylist()
    row["images"][0]["sha256"] = "0" * 64

    def job(step: StepContext) -> StepResult:
        fragments = write_fragments(whole, SFT, pa.Table.from_pylist([row], schema=SFT_SCHEMA))
        final = StepResult({"rows": 16})
        properties = step.properties(["sft_dataset"], 1, {"sft_dataset": final})
        commit(whole, SFT, lambda ds: replace_rows(ds, "example_id", [row["example_id"]], fragments), properties)
        return final

    record = run_step(whole, job, "sft_dataset", inputs=("image_table",))["sft_dataset"]
    version = newest(whole, "image_table").data_version
    (line,) = lines(whole)
    where = f"{record.data_version}, {row['example_id']}"
    assert line == f"example: {where}: names bytes that {version} does not have"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"id": "0" * 32}, "its key is not the digest of its image, bytes, model and prompt"),
        ({"sha256": "0" * 64}, "names bytes that {pinned} does not have"),
        ({"image_id": "nobody.png"}, "names bytes that {pinned} does not have"),
        ({"model_digest": "f" * 16}, "its model is not in the registry"),
    ],
)
def test_a_prediction_whose_key_does_not_resolve(whole: Lake, changed: dict[str, str], sentence: str) -> None:
    row = whole.open(PREDICTIONS).to_table(limit=1).to_pylist()[0] | changed
    if "id" not in changed:
        row["id"] = prediction_key(row["image_id"], row["sha256"], row["model_digest"], row["prompt_digest"])
    pinned = newest(whole, "image_table")

    def job(step: StepContext) -> StepResult:
        final = StepResult({"rows": 17})
        properties = step.properties(["batch_predictions"], 1, {"batch_predictions": final})
        fragments = write_fragments(whole, PREDICTIONS, pa.Table.from_pylist([row], schema=PREDICTIONS_SCHEMA))
        commit(whole, PREDICTIONS, lambda ds: replace_rows(ds, "id", [], fragments), properties)
        return final

    run_step(whole, job, "batch_predictions", inputs=("image_table", "evaluation"))
    assert pinned.ref.version == 2
    sentence = sentence.replace("{pinned}", pinned.data_version)
    assert lines(whole) == [f"prediction: predictions, {row['id']}: {sentence}"]


@pytest.mark.parametrize("images", [[], None])
def test_an_example_without_an_image(whole: Lake, images: list[Any] | None) -> None:
    record = write_dataset(whole, {"images": images})
    key = whole.open(SFT).to_table(filter=NO_IMAGE)["example_id"][0].as_py()
    assert lines(whole) == [f"example: {record.data_version}, {key}: names no image"]


NO_IMAGE = "images is null or array_length(images) = 0"


def test_images_that_were_made_again_are_not_those_that_were_pinned(whole: Lake) -> None:
    """The versions of both tables have the same numbers."""
    before = newest(whole, "image_table")
    shutil.rmtree(whole.uri(IMAGES))
    store(whole, [row | {"image": b"other bytes of " + row["image_id"].encode()} for row in photos()])
    assert newest(whole, "image_table").ref.version == before.ref.version
    report = check(whole)
    assert {item.kind for item in report.disagreements} == {"version"}  # these lead back to the old table
    assert report.expected_leftovers["datasets whose images' table was dropped"] == 1
    assert report.expected_leftovers["predictions of images that were replaced, whose version expired"] == 16


def test_models_of_a_registry_that_was_dropped(whole: Lake) -> None:
    shutil.rmtree(whole.uri("models"))
    for _ in range(2):  # and then with a registry that knows the base model alone
        result = check(whole)
        assert {item.kind for item in result.disagreements} == {"version"}
        assert result.expected_leftovers["predictions by models of a registry that was dropped"] == 16
        dataset(whole, CurateSettings(tasks=[LABEL]))
    assert result.expected_leftovers["evaluations of models of a registry that was dropped"] == 1
