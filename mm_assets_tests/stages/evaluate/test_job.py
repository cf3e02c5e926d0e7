"""The gate on real models: of labels and of captions; the base against itself is never promoted."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch

from mm_assets.engines.answering.questions import Answer, Question
from mm_assets.engines.answering.run import ask
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.engines.answering.work import AnswerJob
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, local_folder, model_staging
from mm_assets.engines.models.registry import Model, get
from mm_assets.engines.training.examples import Trained
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.pace import Pace
from mm_assets.settings import CurateSettings, EvaluateSettings, PredictSettings, TaskName, TaskSettings
from mm_assets.stages.evaluate.job import evaluate_checkpoint
from mm_assets.stages.evaluate.verdict import Contest, judge
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.small_lake import CAPTION, LABEL, checkpoint, dataset, photos, store, untrained
from mm_assets_tests.kit.steps import run_step


@pytest.mark.ray
def test_the_base_against_itself_is_never_promoted(undisturbed: Project, cluster: Cluster) -> None:
    newest, tables = undisturbed.newest(), undisturbed.tables
    dataset, base = newest["sft_dataset"], newest["base_model"].metadata["digest"]
    examples = tables.open("sft", dataset.ref.version).to_table(
        columns=["images", "label", "caption"], filter="split = 'test'", limit=64
    )
    recipe = get(tables, newest["llava_checkpoint"].metadata["digest"]).recipe
    model = dataclasses.replace(get(tables, base), recipe=recipe)
    against_itself = Contest(model, base, "label", examples, newest["image_table"].ref)
    settings = PredictSettings()
    job = AnswerJob(tables, cluster, against_itself.images, base, [Question.of(model, settings)], settings)
    ids = against_itself.image_ids
    found = {answer.image_id: answer for answer in ask(job, ids, Pace("answers", len(ids), print))}
    result = judge(against_itself, {"challenger": found, "champion": found}, EvaluateSettings(min_accuracy=0.0))
    assert result["promoted"] is False
    assert result["interval"] == [0, 0]


def contest(challenger: str = "new", champion: str = "old", task: TaskName = "label") -> Contest:
    labels = ["gym", "pool"] * 20
    images = [[{"image_id": str(number), "sha256": "x"}] for number in range(40)]
    model = Model(challenger, "checkpoint", "m", 1, {}, {}, {})
    examples = pa.table({"images": images, "label": labels, "caption": labels})
    return Contest(model, champion, task, examples, LanceRef("images", "id", 1))


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
    assert (result["measure"], result["accuracy"]) == ("accuracy", 0.95)
    assert result["per_class"]["gym"] == {"examples": 20, "recall": 0.95}
    assert result["confusion"]["gym"] == {"gym": 19, "pool": 0, "spa": 1}


def test_a_champion_that_could_not_answer_is_not_a_beaten_one() -> None:
    result = judge(contest(), {"challenger": answers(38), "champion": answers(5, failed=30)}, EvaluateSettings())
    assert result["promoted"] is False
    assert result["decision"] == "not judged: 0 of its own answers failed, and 30 of the champion's"
    assert (result["rows_failed"], result["champion_rows_failed"]) == (0, 30)


def test_the_model_in_production_is_not_promoted_again() -> None:
    same = answers(40)
    result = judge(contest("m", "m"), {"challenger": same, "champion": same}, EvaluateSettings(min_accuracy=0))
    assert (result["promoted"], result["decision"]) == (False, "it is in production already")


def foretold(share: float, failed: int = 0) -> dict[str, Answer]:
    found = {str(number): Answer(str(number), text="gym", score=share + number % 5 / 100) for number in range(40)}
    return found | {str(number): Answer(str(number), error="OSError: x") for number in range(failed)}


def test_captions_are_judged_by_the_share_of_their_tokens() -> None:
    result = judge(
        contest(task="caption"), {"challenger": foretold(0.7), "champion": foretold(0.25)}, EvaluateSettings()
    )
    assert (result["task"], result["measure"], result["promoted"]) == ("caption", "mean_token_accuracy", True)
    assert (result["accuracy"], result["champion_accuracy"]) == (pytest.approx(0.72), pytest.approx(0.27))
    assert result["interval"] == pytest.approx([0.45, 0.45])
    assert not {"per_class", "confusion"} & set(result)


def test_captions_pass_the_same_gate() -> None:
    both = {"challenger": foretold(0.5), "champion": foretold(0.25)}
    assert judge(contest(task="caption"), both, EvaluateSettings(min_accuracy=0.6))["decision"] == (
        "accuracy 0.520 is below min_accuracy 0.600"
    )
    failed = judge(contest(task="caption"), both | {"champion": foretold(0.25, failed=3)}, EvaluateSettings())
    assert (failed["promoted"], failed["champion_rows_failed"]) == (False, 3)


def evaluated(tables: Lake, **answering: Any) -> Record:
    settings, how = EvaluateSettings(min_accuracy=0), PredictSettings(batch_size=3, **answering)
    made = run_step(
        tables,
        lambda step: evaluate_checkpoint(step, tables, InProcess(), settings, how),
        "evaluation",
        inputs=("llava_checkpoint",),
    )
    return made["evaluation"]


def trained(tables: Lake, *tasks: TaskSettings, training: Callable[..., Trained] = untrained) -> None:
    store(tables, photos())
    dataset(tables, CurateSettings(tasks=list(tasks)))
    checkpoint(tables, training=training)


def by_heart(*arguments: Any) -> Trained:
    """In place of `fine_tune`: the base learns what follows what in its few examples, within seconds."""
    tables, base, train = arguments[1:4]
    torch.manual_seed(0)
    loaded = LoadedModel.load(local_folder(tables, base), PredictSettings())
    texts = [
        loaded.prompts.dialogue_text(CAPTION.prompt, messages[-1]["content"][0]["text"]) for messages in train.messages
    ]
    inputs = loaded.inputs(texts, train.images.read([image_id for (image_id,) in train.image_ids]))
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loaded.model(**inputs, labels=inputs["input_ids"]).loss.backward()
        optimizer.step()
    with model_staging(tables) as folder:
        loaded.model.save_pretrained(folder)
        loaded.processor.save_pretrained(folder)
        return Trained(*keep_model(tables, folder), {"examples": len(train)})


def test_captions_alone_are_evaluated_as_captions(tables: Lake) -> None:
    trained(tables, CAPTION, training=by_heart)
    said = evaluated(tables).metadata
    assert (said["measure"], said["rows"], said["rows_failed"]) == ("mean_token_accuracy", 8, 0)
    assert said["accuracy"] > 0.3 > said["champion_accuracy"]
    assert said["promoted"]
    rows = tables.open("evaluations").to_table().to_pylist()
    assert {row["task"] for row in rows} == {"caption"}
    assert sum(row["challenger_score"] for row in rows) / 8 == pytest.approx(said["accuracy"])
    assert sum(row["champion_score"] for row in rows) / 8 == pytest.approx(said["champion_accuracy"])
    assert all(0 <= row["challenger_score"] <= 1 and row["challenger_label"] is None for row in rows)
    assert all(row["caption"] == f"There is a {row['label']} {row['image_id'][:-4]}." for row in rows)


def test_labels_decide_where_they_are_trained(tables: Lake) -> None:
    trained(tables, CAPTION, LABEL)
    said = evaluated(tables, task="caption", prompt="another way to ask for captions").metadata
    assert (said["measure"], said["rows"]) == ("accuracy", 8)
    assert set(said["per_class"]) == {"Terrace/Patio", "pool"}
    rows = tables.open("evaluations").to_table().to_pylist()
    assert {row["task"] for row in rows} == {"label"}
    assert all(row["challenger_score"] == (row["challenger_label"] == row["label"]) for row in rows)


def test_nothing_held_out_of_the_task_is_a_refusal(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a dataset is not published any more; a lake may have one of before."""
    monkeypatch.setattr("mm_assets.stages.curate.verdicts._splits_without", lambda *_: [])
    store(tables, [{**row, "label": None} if row["image_id"].startswith("test") else row for row in photos()])
    dataset(tables, CurateSettings(tasks=[LABEL, CAPTION]))
    checkpoint(tables)
    with pytest.raises(RefusalError, match="no example of the task label in the held-out split"):
        evaluated(tables)


def test_a_crash_between_the_verdict_and_the_tag_is_made_up_for(tables: Lake) -> None:
    trained(tables, CAPTION, training=by_heart)
    assert evaluated(tables).metadata["promoted"]
    registry = tables.open("models")
    stands = registry.tags.list()["production"]["version"]
    registry.tags.delete("production")
    again = evaluated(tables)
    assert again.reused
    assert tables.open("models").tags.list()["production"]["version"] == stands
