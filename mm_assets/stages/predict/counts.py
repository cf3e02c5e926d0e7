"""Counts of the predictions, question by question: the figures of the materialization."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.answering.usage import Spent
from mm_assets.judging.verdicts import at_most
from mm_assets.lineage.budget import check_budget
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.step import StepResult
from mm_assets.reasons import reasons
from mm_assets.settings import PredictSettings
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.plan import ASSET, NO_IMAGE, PredictPlan
from mm_assets.stages.predict.questions import PosedQuestion


class AnswerCounts:
    """Counts the predictions of a model, old and new ones.

    Args:
        questions: the questions, the chief one first.
        plans: the plan of each question.
        images: version of `images.lance` that the predictions answer for.
        spent: what the workers spent on the answers.
        settings: settings of the predictions.
    """

    def __init__(
        self,
        questions: Sequence[PosedQuestion],
        plans: Sequence[PredictPlan],
        images: int,
        spent: Spent,
        settings: PredictSettings,
    ) -> None:
        self._posed, self._plans, self._images, self._spent, self._settings = questions, plans, images, spent, settings
        self.confirmed_at = plans[0].version
        self._labels = {one.prompt_digest: Counter(plan.labels) for one, plan in zip(questions, plans, strict=True)}
        self._errors = {one.prompt_digest: Counter(plan.failed) for one, plan in zip(questions, plans, strict=True)}

    def add(self, predictions: pa.Table) -> None:
        """Count new predictions by label, or by the reason of their error."""
        for digest in self._labels:
            rows = predictions.filter(pc.equal(predictions["prompt_digest"], digest))
            self._labels[digest].update(rows["label"].drop_null().to_pylist())
            self._errors[digest].update(reasons(rows["error"].drop_null()).to_pylist())

    def within(self, budget: float) -> bool:
        """Whether every question lacks at most this share of its answers to usable images."""
        return all(at_most(*self._missing(one), budget) for one in self._posed)

    def check(self, budget: float) -> None:
        """Hold each question to the budget.

        Raises:
            BudgetError: a question lacks more answers.
        """
        for one in self._posed:
            check_budget(ASSET, *self._missing(one), budget, "predict.error_budget")

    def _missing(self, one: PosedQuestion) -> tuple[int, int]:
        """The number of missing answers to a question, and the number of usable images."""
        errors, plan = self._errors[one.prompt_digest], self._plans[self._posed.index(one)]
        return errors.total() - errors[NO_IMAGE], plan.rows - errors[NO_IMAGE]

    def result(self) -> StepResult:
        """The result of the step; `predicted_labels` and `failed_for` are those of the chief question."""
        rows, computed = sum(p.rows for p in self._plans), sum(p.todo.num_rows for p in self._plans)
        chief = self._posed[0]
        questions = {one.prompt_digest: self._question(one) for one in self._posed}
        return StepResult(
            {
                "rows": rows,
                "rows_considered": rows,
                "rows_computed": computed,
                "rows_reused": rows - computed,
                "rows_failed": sum(errors.total() for errors in self._errors.values()),
                "rows_removed": 0,
                "failed_for": questions[chief.prompt_digest]["failed_for"],
                "predicted_labels": questions[chief.prompt_digest]["predicted_labels"],
                "task": chief.question.task,
                **chief.names,
                "questions": questions,
                "engine": self._settings.engine,
                **self._figures,
            },
            Progress({IMAGES: self._images}, self._plans[0].version, confirmed_at=self.confirmed_at),
        )

    @cached_property
    def _figures(self) -> dict[str, float | int]:
        """Speed and cost, computed once, so that the commit and the materialization have the same figures."""
        todo = pa.concat_tables(plan.todo.select(["_rowid", "error"]) for plan in self._plans)
        images = pc.count_distinct(todo.filter(pc.is_null(todo["error"]))["_rowid"]).as_py()
        return self._spent.figures(images, self._settings.resources.gpus, self._settings.price_per_hour)

    def _question(self, one: PosedQuestion) -> dict[str, object]:
        labels, errors = self._labels[one.prompt_digest], self._errors[one.prompt_digest]
        return {
            "task": one.question.task,
            "prompt": one.question.prompt,
            "failed_for": dict(sorted(errors.items())),
            "predicted_labels": dict(sorted(labels.items())),
        }
