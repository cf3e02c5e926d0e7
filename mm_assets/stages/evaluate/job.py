"""Judge challenger and champion on the held-out split, row by row, and decide on promotion."""

import dataclasses
import hashlib
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mm_assets.catalog import BASE_MODEL, EVALUATION, IMAGE_TABLE, LLAVA_CHECKPOINT, SFT_DATASET
from mm_assets.engines.answering.questions import Answer, Question, main_task, reference
from mm_assets.engines.answering.run import ask
from mm_assets.engines.answering.work import AnswerJob
from mm_assets.engines.lake.commits import commit, tag
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.models.registry import TABLE, get
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.history.opening import open_table
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.pace import Pace
from mm_assets.settings import EvaluateSettings, PredictSettings
from mm_assets.splits import TEST
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA, current_production
from mm_assets.stages.evaluate.verdict import CHALLENGER, CHAMPION, Answers, Contest, judge, scores


def evaluate_checkpoint(
    step: StepContext, lake: Lake, cluster: Cluster, settings: EvaluateSettings, answering: PredictSettings
) -> StepResult:
    """Compare the pinned checkpoint with the production model, unless they were compared with these settings already.

    Raises:
        RefusalError: there is no held-out example, or the files of a model are missing.
    """
    checkpoint = step.inputs[LLAVA_CHECKPOINT.key]
    before = step.last_record(EVALUATION.key)
    dataset = step.input_of(checkpoint, SFT_DATASET.key)
    expected = {"challenger": checkpoint.metadata["digest"], "sft_dataset": dataset.data_version}
    same_settings = before is not None and before.code_version == step.code_versions[EVALUATION.key]
    judged = before is not None and not (before.metadata["rows_failed"] or before.metadata["champion_rows_failed"])
    if (
        before is not None
        and judged
        and same_settings
        and {name: before.metadata[name] for name in expected} == expected
    ):
        step.log(f"{checkpoint.data_version} was evaluated with these settings already")
        if before.metadata["promoted"]:
            _protect(lake, checkpoint.ref.version)  # a crash may have come between the verdict and the tag
        return StepResult(before.metadata | {"rows_computed": 0})
    ds = open_table(lake, step, EVALUATIONS, EVALUATIONS_SCHEMA, [EVALUATION.key])
    production = current_production(ds)
    contest = _contest(step, lake, production)
    answers = _answers(step, lake, cluster, contest, answering)
    result = judge(contest, answers, settings)
    now_production = contest.challenger.digest if result["promoted"] else production
    result |= expected | {"champion": contest.champion_digest, "production": now_production}
    fragments = write_fragments(lake, EVALUATIONS, _rows(contest, answers, result))
    properties = step.properties([EVALUATION.key], 1, {EVALUATION.key: StepResult(result)})
    commit(lake, EVALUATIONS, lambda head: replace_rows(head, "id", [], fragments), properties, written_at=ds.version)
    if result["promoted"]:
        _protect(lake, checkpoint.ref.version)
    ours, theirs = result["accuracy"], result["champion_accuracy"]
    step.log(f"{result['measure']} {ours:.3f}, champion {theirs:.3f}: {result['decision']}")
    return StepResult(result)


def _protect(lake: Lake, version: int) -> None:
    """Tag the model in production; doing it again changes nothing."""
    registry = lake.open(TABLE)
    tagged = registry.tags.list().get("production")
    if tagged is not None and tagged["version"] == version:
        return
    if tagged is not None:
        registry.tags.update("production", version)
    else:
        tag(registry, "production", version)


def _contest(step: StepContext, lake: Lake, production: str | None) -> Contest:
    checkpoint = step.inputs[LLAVA_CHECKPOINT.key]
    dataset = step.input_of(checkpoint, SFT_DATASET.key)
    base = step.input_of(checkpoint, BASE_MODEL.key)
    challenger = get(lake, checkpoint.metadata["digest"])
    task = main_task(challenger)
    examples = lake.open_at(dataset.ref).to_table(
        columns=["images", "label", "caption"], filter=f"split = '{TEST}' and task = '{task}'"
    )
    if not examples.num_rows:
        raise RefusalError(
            f"sft_dataset has no example of the task {task} in the held-out split: add images and materialize it again"
        )
    return Contest(
        challenger=challenger,
        champion_digest=production or base.metadata["digest"],
        task=task,
        examples=examples,
        images=step.input_of(dataset, IMAGE_TABLE.key).ref,
    )


def _answers(
    step: StepContext, lake: Lake, cluster: Cluster, contest: Contest, settings: PredictSettings
) -> dict[str, dict[str, Answer]]:
    """Answers of both models by image id; both get the question that the challenger was trained on."""
    question, ids = _question(contest, settings), contest.image_ids
    by_digest: dict[str, dict[str, Answer]] = {}  # by digest: a model that is its own champion answers once
    sides = {CHALLENGER: contest.challenger.digest, CHAMPION: contest.champion_digest}
    for side, digest in sides.items():
        if digest not in by_digest:
            model = get(lake, digest)
            job = AnswerJob(lake, cluster, contest.images, model.digest, [question], settings.by_transformers())
            answers = ask(job, ids, Pace(f"answers of the {side}", len(ids), step.log))
            by_digest[digest] = {answer.image_id: answer for answer in answers}
    return {side: by_digest[digest] for side, digest in sides.items()}


def _question(contest: Contest, settings: PredictSettings) -> Question:
    """The question to both models; for captions it holds the right ones, whose tokens the models predict."""
    question = Question.of(contest.challenger, settings, contest.task)
    if contest.task != "caption":
        return question
    captions = zip(contest.image_ids, contest.examples["caption"].to_pylist(), strict=True)
    references = {image_id: reference(contest.challenger, caption) for image_id, caption in captions}
    return dataclasses.replace(question, references=references)


def _rows(contest: Contest, answers: Answers, result: dict[str, Any]) -> pa.Table:
    now = datetime.now(UTC)
    names = ("challenger", "champion", "promoted", "production", "task")
    whole = f"{result['challenger']}{result['champion']}{result['sft_dataset']}{now.isoformat()}"
    evaluation_id = hashlib.sha256(whole.encode()).hexdigest()[:16]
    worth = scores(contest, answers)
    rows = []
    for position, example in enumerate(contest.examples.to_pylist()):
        (image,) = example["images"]
        row = {
            **{name: result[name] for name in names},
            **image,
            "id": f"{evaluation_id}/{image['image_id']}",
            "evaluation_id": evaluation_id,
            "label": example["label"],
            "caption": example["caption"],
            "at": now,
        }
        for side in (CHALLENGER, CHAMPION):
            answer = answers[side][image["image_id"]]
            row[f"{side}_score"] = worth[side][position]
            row[f"{side}_label"] = answer.label
            row[f"{side}_confidence"] = answer.confidence
            row["error"] = row.get("error") or answer.error
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=EVALUATIONS_SCHEMA)
