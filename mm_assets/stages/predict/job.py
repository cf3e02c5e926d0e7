"""Answer every image that this model has not answered with this prompt; one commit per batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import EVALUATION, IMAGE_TABLE, LLAVA_CHECKPOINT
from mm_assets.engines.answering.questions import Answer
from mm_assets.engines.answering.run import run
from mm_assets.engines.answering.usage import Spent
from mm_assets.engines.answering.work import AnswerJob, cut_pieces
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows, rows_by_key
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.models.registry import Model, get
from mm_assets.engines.workers.batches import cut, gather
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.history.opening import open_table
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.pace import Pace
from mm_assets.settings import PredictSettings
from mm_assets.stages.evaluate.tables import current_production
from mm_assets.stages.predict.counts import AnswerCounts
from mm_assets.stages.predict.plan import ASSET, NO_IMAGE, PredictPlan, make_plan
from mm_assets.stages.predict.questions import PosedQuestion, questions
from mm_assets.stages.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA

# Predictions, and whether they are the last ones.
Batch = tuple[pa.Table, bool]


def predict(
    step: StepContext, lake: Lake, cluster: Cluster, settings: PredictSettings, *, retry_errors: bool = False
) -> StepResult:
    """Bring `predictions.lance` up to the pinned images for the chosen model and prompt.

    Raises:
        BudgetError: more answers are missing than `predict.error_budget` allows.
        RefusalError: `predict.model` is `production` and no model was promoted yet, or the model was not trained on the
            task of a question.
    """
    posed = questions(_chosen(step, lake, settings), settings)
    open_table(lake, step, PREDICTIONS, PREDICTIONS_SCHEMA, [ASSET])
    plans = [make_plan(step, lake, one.names, retry_errors=retry_errors) for one in posed]
    todo, images = _together(plans), step.ref(IMAGE_TABLE.key)
    whole = f"{plans[0].rows:,} images" if len(posed) == 1 else f"{len(posed)} questions about {plans[0].rows:,} images"
    step.log(f"{todo.num_rows:,} answers to give ({whole}) with model {posed[0].digest} by {settings.engine}")
    work = Work(step, AnswerJob(lake, cluster, images, posed[0].digest, [one.question for one in posed], settings))
    counts = AnswerCounts(posed, plans, images.version, work.spent, settings)
    again = frozenset[str]().union(*(plan.again for plan in plans))
    for number, (done, last) in enumerate(_batches(work, todo, posed), start=1):
        counts.add(done)
        results = {ASSET: counts.result()} if last and counts.within(settings.error_budget) else None
        counts.confirmed_at = _commit(lake, done, again, step.properties([ASSET], number, results))
    counts.check(settings.error_budget)
    return counts.result()


@dataclass(frozen=True)
class Work:
    """The answering of a step, and what the workers spent on it."""

    step: StepContext
    job: AnswerJob
    spent: Spent = field(default_factory=Spent)


def _together(plans: Sequence[PredictPlan]) -> pa.Table:
    """The rows to answer of all questions, with the number of their `question`, sorted by image."""
    numbered = [
        plan.todo.append_column("question", pa.repeat(number, plan.todo.num_rows)) for number, plan in enumerate(plans)
    ]
    return pa.concat_tables(numbered).sort_by([("_rowid", "ascending"), ("question", "ascending")])


def _batches(work: Work, todo: pa.Table, posed: Sequence[PosedQuestion]) -> Iterator[Batch]:
    """Predictions, batch by batch; rejected objects come first, because they cost nothing."""
    settings = work.job.settings
    good = pc.is_null(todo["error"])
    usable, rejected = todo.filter(good), todo.filter(pc.invert(good))
    if rejected.num_rows:
        no_answers = [Answer(name) for name in rejected["image_id"].to_pylist()]
        yield _predictions(rejected, no_answers, posed), not usable.num_rows
    batches = cut(usable, settings.batch_rows, usable["num_bytes"], settings.batch_bytes)
    pieces = [list(cut_pieces(batch, settings.batch_size * len(posed))) for batch in batches]
    progress = Pace("answers", usable.num_rows, work.step.log)
    done = run(work.job, [piece for batch in pieces for piece in batch])
    results = progress.over(done, lambda part: len(part.answers))
    start = 0
    for parts, last in gather(results, [len(batch) for batch in pieces], settings.batch_seconds):
        for usage in (usage for part in parts for usage in part.usages):
            work.spent.add(usage)
        answers = [answer for part in parts for answer in part.answers]
        yield _predictions(usable.slice(start, len(answers)), answers, posed), last
        start += len(answers)


def _commit(lake: Lake, done: pa.Table, again: frozenset[str], properties: dict[str, str]) -> int:
    """Insert predictions and replace those of `again`; predictions that another run inserted meanwhile stay.

    Returns:
        The version of the table before the commit.
    """
    read_at = 0

    def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        nonlocal read_at
        read_at = head.version
        existing = set(rows_by_key(head, "id", done["id"].to_pylist())["id"].to_pylist())
        new = done.filter(pc.invert(pc.is_in(done["id"], pa.array(list(existing - again), pa.string()))))
        fragments = write_fragments(lake, PREDICTIONS, new) if new.num_rows else []
        return replace_rows(head, "id", existing & again, fragments)

    commit(lake, PREDICTIONS, put, properties)
    return read_at


def _chosen(step: StepContext, lake: Lake, settings: PredictSettings) -> Model:
    evaluation = step.inputs[EVALUATION.key]
    if settings.model == "latest":
        return get(lake, step.input_of(evaluation, LLAVA_CHECKPOINT.key).metadata["digest"])
    production = current_production(lake.open_at(evaluation.ref))
    if production is None:
        raise RefusalError(
            "predict.model (MM_PREDICT__MODEL) is production, and no model was promoted yet: "
            "set it to latest, or train a model that passes the evaluation"
        )
    return get(lake, production)


def _predictions(rows: pa.Table, answers: Sequence[Answer], posed: Sequence[PosedQuestion]) -> pa.Table:
    """The rows of one batch; a rejected object also gets a row, with its error."""
    rows_made = [
        _prediction(row, answer, posed[row["question"]]) for row, answer in zip(rows.to_pylist(), answers, strict=True)
    ]
    return pa.Table.from_pylist(rows_made, schema=PREDICTIONS_SCHEMA)


def _prediction(row: dict[str, Any], answer: Answer, posed: PosedQuestion) -> dict[str, Any]:
    key = {name: row[name] for name in ("id", "image_id", "sha256")}
    key |= {"model_digest": posed.digest, "prompt_digest": posed.prompt_digest}
    if row["error"] is not None:
        return key | {"error": f"{NO_IMAGE}: {row['error']}"}
    return key | {
        "answer": answer.text,
        "label": answer.label,
        "confidence": answer.confidence,
        "confidence_kind": answer.confidence_kind,
        "error": answer.error,
    }
