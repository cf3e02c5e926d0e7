"""The gate on real models: the base against itself is never promoted."""

import dataclasses

import pyarrow as pa
import pytest

from mm_assets.engines.generators import Answer, AnswerJob, Question
from mm_assets.engines.model_store import Model, get
from mm_assets.engines.ray_tasks import Cluster, Progress
from mm_assets.evaluate.job import Contest, judge
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import EvaluateSettings, PredictSettings
from mm_assets_tests.project import Project


@pytest.mark.ray
def test_the_base_against_itself_is_never_promoted(finished: Project, cluster: Cluster) -> None:
    newest, tables = finished.newest(), finished.tables
    dataset, base = newest["sft_dataset"], newest["base_model"].metadata["digest"]
    examples = tables.open("sft", dataset.ref.version).to_table(
        columns=["images", "label"], filter="split = 'test'", limit=64
    )
    recipe = get(tables, newest["llava_checkpoint"].metadata["digest"]).recipe
    model = dataclasses.replace(get(tables, base), recipe=recipe)
    against_itself = Contest(model, base, examples, newest["image_table"].ref)
    job = AnswerJob(
        tables, cluster, against_itself.images, tables.model_dir(base), Question.of(model), PredictSettings()
    )
    ids = [images[0]["image_id"] for images in examples["images"].to_pylist()]
    (said,) = job.run([ids], Progress("answers", len(ids), print))
    found = {answer.image_id: answer for answer in said}
    result = judge(against_itself, {"challenger": found, "champion": found}, EvaluateSettings(min_accuracy=0.0))
    assert result["promoted"] is False
    assert result["interval"] == [0, 0]


def contest(challenger: str = "new", champion: str = "old") -> Contest:
    labels = ["gym", "pool"] * 20
    images = [[{"image_id": str(number), "sha256": "x"}] for number in range(40)]
    model = Model(challenger, "checkpoint", "m", 1, {}, {}, {})
    return Contest(model, champion, pa.table({"images": images, "label": labels}), LanceRef("images", "id", 1))


def answers(right: int, failed: int = 0) -> dict[str, Answer]:
    found = {}
    for number in range(40):
        label = ["gym", "pool"][number % 2] if number < right else "spa"
        found[str(number)] = Answer(str(number), label, label, 0.9)
        if number >= 40 - failed:
            found[str(number)] = Answer(str(number), error="OutOfMemoryError: CUDA")
    return found


def test_a_better_model_is_promoted() -> None:
    result = judge(contest(), {"challenger": answers(38), "champion": answers(5)}, EvaluateSettings())
    assert result["promoted"] is True
    assert result["accuracy"] == 0.95


def test_a_champion_that_could_not_answer_is_not_a_beaten_one() -> None:
    result = judge(contest(), {"challenger": answers(38), "champion": answers(5, failed=30)}, EvaluateSettings())
    assert result["promoted"] is False
    assert result["decision"] == "not judged: 0 of its own answers failed, and 30 of the champion's"
    assert (result["rows_failed"], result["champion_rows_failed"]) == (0, 30)


def test_the_model_in_production_is_not_promoted_again() -> None:
    same = answers(40)
    result = judge(contest("m", "m"), {"challenger": same, "champion": same}, EvaluateSettings(min_accuracy=0))
    assert (result["promoted"], result["decision"]) == (False, "it is in production already")
