"""The gate on real models: the base against itself is never promoted."""

import dataclasses

import pytest

from mm_assets.engines.generators import AnswerJob, Question
from mm_assets.engines.model_store import get
from mm_assets.engines.ray_tasks import Cluster, Progress
from mm_assets.evaluate.job import Contest, judge
from mm_assets.settings import EvaluateSettings, PredictSettings
from mm_assets_tests.project import Project

pytestmark = pytest.mark.ray


def test_the_base_against_itself_is_never_promoted(finished: Project, cluster: Cluster) -> None:
    newest, tables = finished.newest(), finished.tables
    dataset, base = newest["sft_dataset"], newest["base_model"].metadata["digest"]
    examples = tables.open("sft", dataset.ref.version).to_table(
        columns=["images", "label"], filter="split = 'test'", limit=64
    )
    recipe = get(tables, newest["llava_checkpoint"].metadata["digest"]).recipe
    model = dataclasses.replace(get(tables, base), recipe=recipe)
    contest = Contest(model, base, examples, newest["image_table"].ref)
    job = AnswerJob(tables, cluster, contest.images, tables.model_dir(base), Question.of(model), PredictSettings())
    ids = [images[0]["image_id"] for images in examples["images"].to_pylist()]
    (said,) = job.run([ids], Progress("answers", len(ids), print))
    answers = {answer.image_id: answer for answer in said}
    result = judge(contest, {"challenger": answers, "champion": answers}, EvaluateSettings(min_accuracy=0.0))
    assert result["promoted"] is False
    assert result["interval"] == [0, 0]
