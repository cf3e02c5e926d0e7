"""Predictions by task: labels, captions as the model writes them, and the row that a bad image costs."""

from dataclasses import replace
from typing import Any

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.answering import pictures as answering_pictures
from mm_assets.engines.answering.pictures import Picture
from mm_assets.engines.answering.questions import Answer, Question
from mm_assets.engines.answering.transformers.generators import Writer
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.models.registry import Model, get
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.settings import Ask
from mm_assets_tests.kit.jobs import predicted, trained
from mm_assets_tests.kit.lake_rows import calls_of, plain
from mm_assets_tests.kit.small_lake import CAPTION, LABEL, photos
from mm_assets_tests.kit.steps import nothing_new, run_step


def rows(tables: Lake) -> list[dict[str, Any]]:
    return list(tables.open("predictions").to_table().to_pylist())


def test_captions_are_free_text(tables: Lake) -> None:
    trained(tables, CAPTION, image=b"no image", error=None)
    said = predicted(tables).metadata
    assert (said["task"], said["rows"], said["rows_failed"], said["predicted_labels"]) == ("caption", 16, 1, {})
    bad, *good = sorted(rows(tables), key=lambda row: row["error"] is None)
    assert bad["image_id"] == photos()[0]["image_id"]
    assert (bad["answer"], bad["confidence"]) == (None, None)
    assert {row["prompt_digest"] for row in good} == {said["prompt_digest"]}
    for row in good:
        assert row["answer"] is not None
        assert row["label"] is None
        assert 0 < row["confidence"] <= 1


def test_of_two_tasks_the_label_is_asked_unless_the_settings_say_otherwise(tables: Lake) -> None:
    trained(tables, CAPTION, LABEL)
    said = predicted(tables).metadata
    assert (said["task"], said["rows_computed"]) == ("label", 16)
    assert all(row["answer"] == f"a {row['label']}." for row in rows(tables))
    assert sum(said["predicted_labels"].values()) == 16
    captions = predicted(tables, task="caption").metadata
    assert (captions["task"], captions["rows_computed"]) == ("caption", 16)
    assert predicted(tables, task="label").metadata["rows_computed"] == 0
    assert len(rows(tables)) == 32


def test_several_questions_are_asked_in_one_pass_and_each_is_remembered(tables: Lake) -> None:
    trained(tables, CAPTION, LABEL, image=b"no image", error=None)
    caption = Ask(task="caption")
    first = predicted(tables, also=[caption])
    said = first.metadata
    assert (said["task"], said["rows"], said["rows_computed"], said["rows_failed"]) == ("label", 32, 32, 2)
    assert sum(said["predicted_labels"].values()) == 15
    asked = {found["task"]: (digest, found) for digest, found in said["questions"].items()}
    assert said["prompt_digest"] == asked["label"][0]
    assert asked["caption"][1]["failed_for"] == said["failed_for"] == {"ImageError": 1}
    kinds = {(row["prompt_digest"], row["confidence_kind"]) for row in rows(tables) if not row["error"]}
    assert kinds == {(asked["label"][0], "label_share"), (asked["caption"][0], "mean_token_probability")}
    assert nothing_new(predicted(tables, also=[caption]), first)

    more = predicted(tables, also=[caption, Ask(prompt="which place?")]).metadata
    assert (more["rows"], more["rows_computed"], more["rows_reused"]) == (48, 16, 32)
    assert more["questions"][said["prompt_digest"]] == asked["label"][1]
    with pytest.raises(RefusalError, match=r"MM_PREDICT__ALSO\) asks what is asked already"):
        predicted(tables, also=[Ask(task="label")])


def test_each_question_has_the_error_budget_for_itself(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tables, CAPTION, LABEL)

    def broken(self: object, pictures: list[Picture]) -> list[Answer]:
        if len(pictures) > 1 or pictures[0].image_id in [row["image_id"] for row in photos()[:9]]:
            raise ValueError("no words")
        return [Answer(pictures[0].image_id, text="words", confidence=0.5)]

    monkeypatch.setattr(Writer, "answer", broken)
    with pytest.raises(BudgetError, match=r"9 of 16 rows failed"):
        predicted(tables, also=[Ask(task="caption")])
    with pytest.raises(RefusalError, match=r"predict.also.task \(MM_PREDICT__ALSO\) is caption, and model"):
        Question.of(checkpoint_of_labels(tables), Ask(task="caption"), setting="predict.also")


def checkpoint_of_labels(tables: Lake) -> Model:
    (row,) = [row for row in tables.open("models").to_table().to_pylist() if row["kind"] == "checkpoint"]
    model = get(tables, row["digest"])
    return replace(model, recipe={**model.recipe, "tasks": [t for t in model.recipe["tasks"] if t["task"] == "label"]})


def test_longer_captions_are_other_answers(tables: Lake) -> None:
    trained(tables, CAPTION)
    assert predicted(tables).metadata["prompt_digest"] != predicted(tables, precision="bf16").metadata["prompt_digest"]


def test_a_task_that_was_not_trained_is_refused(tables: Lake) -> None:
    trained(tables, LABEL)
    with pytest.raises(RefusalError, match=r"MM_PREDICT__TASK\) is caption, and model .* was trained on label alone"):
        predicted(tables, task="caption")


def test_only_failed_answers_are_asked_for_again(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tables, CAPTION, image=b"no image", error=None)
    first = predicted(tables)
    before = {row["id"]: row for row in rows(tables)}
    assert nothing_new(predicted(tables), first)
    asked = calls_of(monkeypatch, answering_pictures, "decode")
    again = predicted(tables, retry_errors=True)
    assert len(asked) == 1
    assert (again.metadata["rows_computed"], again.metadata["rows_failed"]) == (1, 1)
    assert {row["id"]: row for row in rows(tables)} == before


def test_more_failed_answers_than_allowed_fail_the_step_and_keep_the_good_ones(tables: Lake) -> None:
    trained(tables, CAPTION, image=b"no image", error=None)
    sentence = r"batch_predictions: 1 of 16 rows failed \(6.2%\), more than predict.error_budget \(0.05\) allows"
    for _ in range(2):
        with pytest.raises(BudgetError, match=sentence):
            predicted(tables, error_budget=0.05)
    assert sum(row["error"] is None for row in rows(tables)) == 15
    assert heal(History.read(tables), "batch_predictions").record is None


def test_only_new_bytes_are_answered(tables: Lake) -> None:
    trained(tables, CAPTION)
    predicted(tables)
    gone, changed, *_ = photos()
    other = {**changed, "image": plain("red"), "sha256": "other"}

    def job(step: StepContext) -> StepResult:
        rows = {**other, "width": 40, "height": 30}
        schema = pa.schema(list(tables.open("images").schema))
        columns = {name: [rows.get(name)] for name in schema.names}
        columns["image"] = lance.blob_array(columns["image"])
        fragments = write_fragments(tables, "images", pa.table(columns, schema=schema))
        final = StepResult({"rows": 15})
        drop = [gone["image_id"], changed["image_id"]]
        properties = step.properties(["image_table"], 1, {"image_table": final})
        commit(tables, "images", lambda head: replace_rows(head, "image_id", drop, fragments), properties)
        return final

    run_step(tables, job, "image_table")
    said = predicted(tables).metadata
    assert (said["rows"], said["rows_computed"], said["rows_reused"]) == (15, 1, 14)
    assert len(rows(tables)) == 17  # answers to what is gone stay
