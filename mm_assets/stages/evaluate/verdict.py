"""The verdict on two models: the scores of their answers, the paired difference, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from mm_assets.engines.answering.questions import Answer
from mm_assets.engines.models.registry import Model
from mm_assets.judging.statistics import confusion, hits, mean, paired_bootstrap, per_class, promotes
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import EvaluateSettings, TaskName

CHALLENGER, CHAMPION = "challenger", "champion"
# TRL's `mean_token_accuracy`: the share of the right answer's tokens that the model predicts.
MEASURES: dict[TaskName, str] = {"label": "accuracy", "caption": "mean_token_accuracy"}

# By side, then by image id.
Answers = Mapping[str, Mapping[str, Answer]]


@dataclass(frozen=True)
class Contest:
    """A comparison: two models, the held-out examples of a task, and the images at their pinned version."""

    challenger: Model
    champion_digest: str
    task: TaskName
    examples: pa.Table  # images, label, caption
    images: LanceRef

    @cached_property
    def image_ids(self) -> list[str]:
        """The image of each example, in order."""
        return [images[0]["image_id"] for images in self.examples["images"].to_pylist()]


def scores(contest: Contest, answers: Answers) -> dict[str, list[float]]:
    """The score of each example's answer, by side: 0 to 1; 0 also where there is no answer."""
    ordered = {side: [by_id[image_id] for image_id in contest.image_ids] for side, by_id in answers.items()}
    if contest.task == "caption":
        return {side: [answer.score or 0.0 for answer in replies] for side, replies in ordered.items()}
    truth = contest.examples["label"].to_pylist()
    return {side: hits(truth, [answer.label for answer in replies]) for side, replies in ordered.items()}


def judge(contest: Contest, answers: Answers, settings: EvaluateSettings) -> dict[str, Any]:
    """Both models' mean scores, the paired interval and the decision as JSON values; for labels also the confusion."""
    worth = scores(contest, answers)
    ours, theirs = mean(worth[CHALLENGER]), mean(worth[CHAMPION])
    interval = paired_bootstrap(
        worth[CHALLENGER],
        worth[CHAMPION],
        confidence=settings.confidence,
        samples=settings.bootstrap_samples,
    )
    failed = {side: sum(answer.error is not None for answer in by_id.values()) for side, by_id in answers.items()}
    promoted, decision = promotes(interval, ours, settings.min_accuracy)
    if any(failed.values()):
        # A failed engine does not mean a bad model: a champion that could not answer is not beaten.
        promoted, decision = (
            False,
            f"not judged: {failed[CHALLENGER]} of its own answers failed, and {failed[CHAMPION]} of the champion's",
        )
    elif contest.champion_digest == contest.challenger.digest:
        promoted, decision = False, "it is in production already"
    return {
        "rows": len(contest.examples),
        "rows_computed": len(contest.examples),
        "task": contest.task,
        "measure": MEASURES[contest.task],
        "accuracy": ours,
        "champion_accuracy": theirs,
        "difference": interval.difference,
        "interval": [interval.low, interval.high],
        "promoted": promoted,
        "decision": decision,
        "rows_failed": failed[CHALLENGER],
        "champion_rows_failed": failed[CHAMPION],
        **_by_label(contest, answers[CHALLENGER]),
    }


def _by_label(contest: Contest, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The recall of each label and the confusion matrix; {} for captions."""
    if contest.task != "label":
        return {}
    truth = contest.examples["label"].to_pylist()
    labels = [answers[image_id].label for image_id in contest.image_ids]
    return {"per_class": per_class(truth, labels), "confusion": confusion(truth, labels)}
