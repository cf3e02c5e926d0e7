"""Judge challenger and champion on the held-out split, row by row, and decide on promotion."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import lance
import pyarrow as pa

from mm_assets.curate.splits import TEST
from mm_assets.engines.generators import Answer, AnswerJob, Question
from mm_assets.engines.lance_tables import LakeTables, commit, tag, write_fragments
from mm_assets.engines.model_store import TABLE, Model, get
from mm_assets.engines.ray_tasks import Cluster, Progress
from mm_assets.evaluate.statistics import accuracy, confusion, paired_bootstrap, per_class, promotes
from mm_assets.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA, current_production
from mm_assets.lineage.refs import Final, LanceRef, RefusalError, Step
from mm_assets.settings import EvaluateSettings, PredictSettings


@dataclass(frozen=True)
class Contest:
    """What is compared on what: two models, the held-out examples, and the images at their pinned version."""

    challenger: Model
    champion_digest: str
    examples: pa.Table
    images: LanceRef


def evaluate_checkpoint(
    step: Step, tables: LakeTables, cluster: Cluster, settings: EvaluateSettings, answering: PredictSettings
) -> Final:
    """Compare the pinned checkpoint with the production model, unless that was done with the same settings.

    Raises:
        RefusalError: there is no held-out example, or a model's files are gone.
    """
    checkpoint = step.inputs["llava_checkpoint"]
    before = step.last_record("evaluation")
    dataset = step.input_of(checkpoint, "sft_dataset")
    wanted = {"challenger": checkpoint.metadata["digest"], "sft_dataset": dataset.data_version}
    same_settings = before is not None and before.code_version == step.code_versions["evaluation"]
    if before is not None and same_settings and {name: before.metadata[name] for name in wanted} == wanted:
        step.log(f"{checkpoint.data_version} was evaluated with these settings already")
        return Final(before.metadata | {"rows_computed": 0})
    ds = tables.open_or_create(EVALUATIONS, EVALUATIONS_SCHEMA, step.properties(["evaluation"], 0))
    production = current_production(ds)
    contest = _contest(step, tables, production)
    answers = _answers(step, tables, cluster, contest, answering)
    result = judge(contest, answers, settings)
    now_production = contest.challenger.digest if result["promoted"] else production
    result |= wanted | {"champion": contest.champion_digest, "production": now_production}
    fragments = write_fragments(tables, EVALUATIONS, _rows(contest, answers, result))
    properties = step.properties(["evaluation"], 1, {"evaluation": Final(result)})
    commit(ds, lance.LanceOperation.Append(fragments), properties)
    if result["promoted"]:
        _protect(tables, checkpoint.ref.version)
    step.log(f"accuracy {result['accuracy']:.3f}, champion {result['champion_accuracy']:.3f}: {result['decision']}")
    return Final(result)


def _protect(tables: LakeTables, version: int) -> None:
    registry = tables.open(TABLE)
    if "production" in registry.tags.list():
        registry.tags.update("production", version)
    else:
        tag(registry, "production", version)


def _contest(step: Step, tables: LakeTables, production: str | None) -> Contest:
    checkpoint = step.inputs["llava_checkpoint"]
    dataset = step.input_of(checkpoint, "sft_dataset")
    base = step.input_of(checkpoint, "base_model")
    examples = tables.open_at(dataset.ref).to_table(columns=["images", "label"], filter=f"split = '{TEST}'")
    if not examples.num_rows:
        raise RefusalError("sft_dataset has no example in the held-out split: add images and materialize it again")
    return Contest(
        challenger=get(tables, checkpoint.metadata["digest"]),
        champion_digest=production or base.metadata["digest"],
        examples=examples,
        images=step.input_of(dataset, "image_table").ref,
    )


def _answers(
    step: Step, tables: LakeTables, cluster: Cluster, contest: Contest, settings: PredictSettings
) -> dict[str, dict[str, Answer]]:
    """Answers of both models by image id; both are asked what the challenger was trained for."""
    question = Question.of(contest.challenger, settings.prompt)
    ids = [images[0]["image_id"] for images in contest.examples["images"].to_pylist()]
    found: dict[str, dict[str, Answer]] = {}  # by digest: a model that is its own champion answers once
    sides = {"challenger": contest.challenger.digest, "champion": contest.champion_digest}
    for side, digest in sides.items():
        if digest not in found:
            folder = tables.model_dir(get(tables, digest).digest)
            job = AnswerJob(tables, cluster, contest.images, folder, question, settings)
            (said,) = job.run([ids], Progress(f"answers of the {side}", len(ids), step.log))
            found[digest] = {answer.image_id: answer for answer in said}
    return {side: found[digest] for side, digest in sides.items()}


def judge(contest: Contest, answers: dict[str, dict[str, Answer]], settings: EvaluateSettings) -> dict[str, Any]:
    """Accuracies, per class, confusion matrix, paired interval and the decision, as JSON values."""
    truth = contest.examples["label"].to_pylist()
    ids = [images[0]["image_id"] for images in contest.examples["images"].to_pylist()]
    said = {side: [found[image_id].label for image_id in ids] for side, found in answers.items()}
    right = {side: [a == b for a, b in zip(truth, labels, strict=True)] for side, labels in said.items()}
    interval = paired_bootstrap(
        right["challenger"],
        right["champion"],
        confidence=settings.confidence,
        samples=settings.bootstrap_samples,
    )
    failed = {side: sum(answer.error is not None for answer in found.values()) for side, found in answers.items()}
    promoted, decision = promotes(interval, accuracy(truth, said["challenger"]), settings.min_accuracy)
    if any(failed.values()):
        # An engine that fails says nothing of its model: a champion that could not answer is not a beaten one.
        promoted, decision = (
            False,
            f"not judged: {failed['challenger']} of its own answers failed, and "
            + (f"{failed['champion']} of the champion's"),
        )
    elif contest.champion_digest == contest.challenger.digest:
        promoted, decision = False, "it is in production already"
    return {
        "rows": len(ids),
        "rows_computed": len(ids),
        "accuracy": accuracy(truth, said["challenger"]),
        "champion_accuracy": accuracy(truth, said["champion"]),
        "difference": interval.difference,
        "interval": [interval.low, interval.high],
        "promoted": promoted,
        "decision": decision,
        "rows_failed": failed["challenger"],
        "champion_rows_failed": failed["champion"],
        "per_class": per_class(truth, said["challenger"]),
        "confusion": confusion(truth, said["challenger"]),
    }


def _rows(contest: Contest, answers: dict[str, dict[str, Answer]], result: dict[str, Any]) -> pa.Table:
    now = datetime.now(UTC)
    names = ("challenger", "champion", "promoted", "production")
    whole = f"{result['challenger']}{result['champion']}{result['sft_dataset']}{now.isoformat()}"
    evaluation_id = hashlib.sha256(whole.encode()).hexdigest()[:16]
    rows = []
    for example in contest.examples.to_pylist():
        image = example["images"][0]
        ours, theirs = (answers[side][image["image_id"]] for side in ("challenger", "champion"))
        rows.append(
            {
                **{name: result[name] for name in names},
                **image,
                "id": f"{evaluation_id}/{image['image_id']}",
                "evaluation_id": evaluation_id,
                "label": example["label"],
                "challenger_label": ours.label,
                "challenger_confidence": ours.confidence,
                "champion_label": theirs.label,
                "champion_confidence": theirs.confidence,
                "error": ours.error or theirs.error,
                "at": now,
            }
        )
    return pa.Table.from_pylist(rows, schema=EVALUATIONS_SCHEMA)
