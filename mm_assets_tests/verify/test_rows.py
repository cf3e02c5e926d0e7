"""Examples and predictions that name what is not there."""

import pyarrow as pa
import pytest

from mm_assets.curate.tables import SFT, SFT_SCHEMA
from mm_assets.engines.lance_commits import commit, put_rows
from mm_assets.engines.lance_tables import LakeTables, write_fragments
from mm_assets.lineage.refs import Final, Step
from mm_assets.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA, prediction_key
from mm_assets_tests.steps import run_step
from mm_assets_tests.verify.checking import lines, newest


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
    version = newest(whole, "image_table").data_version
    (line,) = lines(whole)
    where = f"{made.data_version}, {row['example_id']}"
    assert line == f"example: {where}: names bytes that {version} does not have"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": "0" * 32}, "its key is not the digest of its image, bytes, model and prompt"),
        ({"sha256": "0" * 64}, "names bytes that {pinned} does not have"),
        ({"image_id": "nobody.png"}, "names bytes that {pinned} does not have"),
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
    said = said.replace("{pinned}", pinned.data_version)
    assert lines(whole) == [f"prediction: predictions, {row['id']}: {said}"]
