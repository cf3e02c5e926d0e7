"""Answer every image that this model has not answered with this prompt, one commit per batch."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.answering import AnswerJob
from mm_assets.engines.lance_tables import LakeTables, commit, write_fragments
from mm_assets.engines.model_store import Model, get
from mm_assets.engines.progress import Progress
from mm_assets.engines.questions import Answer, Question
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.evaluate.tables import current_production
from mm_assets.lineage.refs import Final, RefusalError, Step
from mm_assets.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA
from mm_assets.settings import PredictSettings


def predict(step: Step, tables: LakeTables, cluster: Cluster, settings: PredictSettings) -> Final:
    """Bring `predictions.lance` up to the pinned images for the chosen model and prompt.

    Raises:
        RefusalError: `production` is asked for and no model was promoted yet, or the model was not trained on the task
            that is asked for.
    """
    model = _chosen(step, tables, settings)
    question = Question.of(model, settings)
    prompt = _prompt_digest(question, settings)
    rows = _keyed(tables.open_at(step.ref("image_table")), model.digest, prompt)
    ds = tables.open_or_create(PREDICTIONS, PREDICTIONS_SCHEMA, step.properties(["batch_predictions"], 0))
    known = ds.to_table(columns=["id", "label", "error"], filter=f"model_digest = '{model.digest}'")
    known = known.filter(pc.is_in(known["id"], rows["id"]))
    todo = rows.filter(pc.invert(pc.is_in(rows["id"], known["id"])))
    step.log(f"{todo.num_rows:,} of {rows.num_rows:,} images to predict with model {model.digest}")

    job = AnswerJob(tables, cluster, step.ref("image_table"), model.digest, question, settings)
    starts = range(0, todo.num_rows, settings.batch_rows)
    batches = [todo.slice(start, settings.batch_rows).to_pylist() for start in starts]
    usable = [[row["image_id"] for row in batch if row["error"] is None] for batch in batches]
    progress = Progress("images", sum(map(len, usable)), step.log)
    tally = Tally(
        rows.num_rows, todo.num_rows, {"task": question.task, "digest": model.digest, "prompt_digest": prompt}
    )
    tally.add(known)
    for number, (batch, answers) in enumerate(zip(batches, job.run(usable, progress), strict=True), start=1):
        done = _predictions(batch, answers)
        tally.add(done)
        final = {"batch_predictions": tally.final()} if number == len(batches) else None
        properties = step.properties(["batch_predictions"], number, final)
        fragments = write_fragments(tables, PREDICTIONS, done)
        commit(tables.open(PREDICTIONS), lance.LanceOperation.Append(fragments), properties)
    return tally.final()


@dataclass
class Tally:
    """What the predictions of this model and prompt come to, old and new ones; `asked` names the two."""

    rows: int
    computed: int
    asked: dict[str, str]
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, predictions: pa.Table) -> None:
        """Count rows by label, or by the reason of their error."""
        self.labels.update(label for label in predictions["label"].to_pylist() if label is not None)
        self.errors.update(error.split(":")[0] for error in predictions["error"].to_pylist() if error is not None)

    def final(self) -> Final:
        """The metadata of the materialization."""
        return Final(
            {
                "rows": self.rows,
                "rows_computed": self.computed,
                "rows_reused": self.rows - self.computed,
                "rows_failed": self.errors.total(),
                "failed_for": dict(sorted(self.errors.items())),
                "predicted_labels": dict(sorted(self.labels.items())),
                **self.asked,
            }
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


def _keyed(images: lance.LanceDataset, model_digest: str, prompt_digest: str) -> pa.Table:
    """Every image row with its prediction's key."""
    rows = images.to_table(columns=["image_id", "sha256", "error"])
    ids = [
        hashlib.sha256(json.dumps([image_id, sha256, model_digest, prompt_digest]).encode()).hexdigest()[:32]
        for image_id, sha256 in zip(rows["image_id"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
    ]
    same = {"model_digest": model_digest, "prompt_digest": prompt_digest}
    keys = {"id": ids, **{name: [value] * rows.num_rows for name, value in same.items()}}
    for name, values in keys.items():
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows


def _predictions(batch: list[dict[str, Any]], answers: list[Answer]) -> pa.Table:
    """Rows of one batch; a rejected object has a row too, with the error that it was rejected for."""
    by_image = {answer.image_id: answer for answer in answers}
    return pa.Table.from_pylist([_prediction(row, by_image) for row in batch], schema=PREDICTIONS_SCHEMA)


def _prediction(row: dict[str, Any], answers: dict[str, Answer]) -> dict[str, Any]:
    key = {name: row[name] for name in ("id", "image_id", "sha256", "model_digest", "prompt_digest")}
    if row["error"] is not None:
        return key | {"error": f"no image: {row['error']}"}
    answer = answers[row["image_id"]]
    return key | {
        "answer": answer.text,
        "label": answer.label,
        "confidence": answer.confidence,
        "error": answer.error,
    }
