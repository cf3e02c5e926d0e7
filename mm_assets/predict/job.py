"""Answer every image that this model has not answered with this prompt, one commit per batch."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.answering import AnswerJob, parts
from mm_assets.engines.batches import cut, gather
from mm_assets.engines.lance_commits import commit, put_rows, rows_by_key
from mm_assets.engines.lance_passes import COMPARED
from mm_assets.engines.lance_tables import LakeTables, write_fragments
from mm_assets.engines.model_store import Model, get
from mm_assets.engines.progress import Progress
from mm_assets.engines.questions import Answer, Question
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.evaluate.tables import current_production
from mm_assets.ingest.tables import IMAGES
from mm_assets.lineage.refs import Final, RefusalError, Step, check_budget
from mm_assets.lineage.verdicts import at_most
from mm_assets.predict.plan import ASSET, NO_IMAGE, Plan, make_plan
from mm_assets.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA
from mm_assets.reasons import reasons
from mm_assets.settings import PredictSettings

# Predictions, and whether no more come after them.
Batch = tuple[pa.Table, bool]


def predict(
    step: Step, tables: LakeTables, cluster: Cluster, settings: PredictSettings, *, retry_errors: bool = False
) -> Final:
    """Bring `predictions.lance` up to the pinned images for the chosen model and prompt.

    Raises:
        BudgetError: more images have no answer than `predict.error_budget` allows.
        RefusalError: `production` is asked for and no model was promoted yet, or the model was not trained on the task
            that is asked for.
    """
    model = _chosen(step, tables, settings)
    question = Question.of(model, settings)
    asked = {"digest": model.digest, "prompt_digest": _prompt_digest(question, settings)}
    tables.open_or_create(PREDICTIONS, PREDICTIONS_SCHEMA, step.properties([ASSET], 0))
    plan = make_plan(step, tables, asked, retry_errors=retry_errors)
    step.log(f"{plan.todo.num_rows:,} of {plan.rows:,} images to predict with model {model.digest}")
    job = AnswerJob(tables, cluster, step.ref("image_table"), model.digest, question, settings)
    tally = _Tally(plan, {"task": question.task, **asked}, step.ref("image_table").version)
    for number, (done, last) in enumerate(_batches(step, job, plan, asked, settings), start=1):
        tally.add(done)
        finals = {ASSET: tally.final()} if last and at_most(tally.failed, tally.usable, settings.error_budget) else None
        tally.looked_at = _commit(tables, done, plan.again, step.properties([ASSET], number, finals))
    check_budget(ASSET, tally.failed, tally.usable, settings.error_budget, "predict.error_budget")
    return tally.final()


def _batches(
    step: Step, job: AnswerJob, plan: Plan, asked: dict[str, str], settings: PredictSettings
) -> Iterator[Batch]:
    """Predictions, batch by batch; objects that are no images come first, for they cost nothing."""
    good = pc.is_null(plan.todo["error"])
    usable, rejected = plan.todo.filter(good), plan.todo.filter(pc.invert(good))
    if rejected.num_rows:
        yield _predictions(rejected, {}, asked), not usable.num_rows
    batches = cut(usable, settings.batch_rows, usable["num_bytes"], settings.batch_bytes)
    pieces = [list(parts(batch, settings.batch_size)) for batch in batches]
    progress = Progress("images", usable.num_rows, step.log)
    results = progress.over(job.run([piece for batch in pieces for piece in batch]), len)
    start = 0
    for found, last in gather(results, [len(batch) for batch in pieces], settings.batch_seconds):
        answers = {answer.image_id: answer for part in found for answer in part}
        yield _predictions(usable.slice(start, len(answers)), answers, asked), last
        start += len(answers)


def _commit(tables: LakeTables, done: pa.Table, again: frozenset[str], properties: dict[str, str]) -> int:
    """Put predictions in: new ones, and those that failed before; not those that another run has put in meanwhile.

    Returns:
        The version of the table before the commit.
    """
    looked_at = 0

    def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        nonlocal looked_at
        looked_at = head.version
        there = set(rows_by_key(head, "id", done["id"].to_pylist())["id"].to_pylist())
        new = done.filter(pc.invert(pc.is_in(done["id"], pa.array(list(there - again), pa.string()))))
        fragments = write_fragments(tables, PREDICTIONS, new) if new.num_rows else []
        return put_rows(head, "id", there & again, fragments)

    commit(tables, PREDICTIONS, put, properties)
    return looked_at


class _Tally:
    """What the predictions of this model and prompt come to, old and new ones; `asked` names the two."""

    def __init__(self, plan: Plan, asked: dict[str, str], images: int) -> None:
        self._plan, self._asked, self._images = plan, asked, images
        self.looked_at = plan.version
        self._labels, self._errors = Counter(plan.labels), Counter(plan.failed)

    def add(self, predictions: pa.Table) -> None:
        """Count rows by label, or by the reason of their error."""
        self._labels.update(predictions["label"].drop_null().to_pylist())
        self._errors.update(reasons(predictions["error"].drop_null()).to_pylist())

    @property
    def usable(self) -> int:
        """Images that there are."""
        return self._plan.rows - self._errors[NO_IMAGE]

    @property
    def failed(self) -> int:
        """Images without an answer."""
        return self._errors.total() - self._errors[NO_IMAGE]

    def final(self) -> Final:
        """What the materialization says of itself."""
        rows, computed = self._plan.rows, self._plan.todo.num_rows
        return Final(
            {
                "rows": rows,
                "rows_considered": rows,
                "rows_computed": computed,
                "rows_reused": rows - computed,
                "rows_failed": self._errors.total(),
                "rows_removed": 0,
                "failed_for": dict(sorted(self._errors.items())),
                "predicted_labels": dict(sorted(self._labels.items())),
                **self._asked,
            },
            {IMAGES: self._images, COMPARED: self._plan.version},
            self.looked_at,
        )


def _chosen(step: Step, tables: LakeTables, settings: PredictSettings) -> Model:
    evaluation = step.inputs["evaluation"]
    if settings.model == "latest":
        return get(tables, step.input_of(evaluation, "llava_checkpoint").metadata["digest"])
    production = current_production(tables.open_at(evaluation.ref))
    if production is None:
        raise RefusalError(
            "predict.model (MM_PREDICT__MODEL) is production, and no model was promoted yet: "
            "set it to latest, or train a model that passes the evaluation"
        )
    return get(tables, production)


def _prompt_digest(question: Question, settings: PredictSettings) -> str:
    how = "label log-likelihood" if question.answers else f"greedy, at most {settings.max_new_tokens} tokens"
    text = json.dumps([question.prompt, dict(question.answers), how, settings.precision])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _predictions(rows: pa.Table, answers: dict[str, Answer], asked: dict[str, str]) -> pa.Table:
    """Rows of one batch; a rejected object has a row too, with the error that it was rejected for."""
    found = [_prediction(row, answers, asked) for row in rows.to_pylist()]
    return pa.Table.from_pylist(found, schema=PREDICTIONS_SCHEMA)


def _prediction(row: dict[str, Any], answers: dict[str, Answer], asked: dict[str, str]) -> dict[str, Any]:
    key = {name: row[name] for name in ("id", "image_id", "sha256")}
    key |= {"model_digest": asked["digest"], "prompt_digest": asked["prompt_digest"]}
    if row["error"] is not None:
        return key | {"error": f"{NO_IMAGE}: {row['error']}"}
    answer = answers[row["image_id"]]
    return key | {
        "answer": answer.text,
        "label": answer.label,
        "confidence": answer.confidence,
        "error": answer.error,
    }
