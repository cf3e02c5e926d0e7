"""Plans the predictions: the images that a model has not answered yet, with the keys of their predictions."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import BATCH_PREDICTIONS, IMAGE_TABLE
from mm_assets.engines.lake.changes import Changes, changes_since
from mm_assets.engines.lake.rows import rows_by_key
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.reuse import outside_versions_since
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext
from mm_assets.reasons import reasons
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.tables import PREDICTIONS, prediction_key

ASSET = BATCH_PREDICTIONS.key
NO_IMAGE = "no image"
WRITTEN = "_row_last_updated_at_version"
# Columns of an image: the parts of the prediction's key, the error, and the size.
COLUMNS = ["image_id", "sha256", "error", "num_bytes", "width", "height"]


@dataclass(frozen=True)
class PredictPlan:
    """The images that one question is still to be asked about.

    Args:
        version: version of `predictions.lance` that the plan was made at.
        rows: number of images that the predictions answer for.
        todo: images to answer: `COLUMNS`, `id` of the prediction and `_rowid`, oldest first.
        again: keys of `todo` that have a prediction to replace: a failed one, or one written from outside.
        labels: number of predictions that stay, by label.
        failed: number of failed predictions that stay, by reason.
    """

    version: int
    rows: int
    todo: pa.Table
    again: frozenset[str]
    labels: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def make_plan(step: StepContext, lake: Lake, questions: dict[str, str], *, retry_errors: bool) -> PredictPlan:
    """Find images whose bytes this model has not answered with this prompt.

    A prediction depends only on an image's bytes, and other bytes are a new row. So only rows created since the last
    complete pass are read. All rows are read where somebody outside wrote the predictions since; the predictions that
    they wrote are made again.

    Args:
        step: the step with its pinned inputs.
        lake: read.
        questions: `digest` of the model and `prompt_digest` of the question.
        retry_errors: answer again where an answer failed.
    """
    pinned = step.ref(IMAGE_TABLE.key)
    outside = outside_versions_since(lake.open(PREDICTIONS), step.last_record(ASSET)).get(ASSET, [])
    before = None if retry_errors or outside else _same_question(step, questions)
    since = before.progress.inputs[IMAGES] if before else None
    changes = changes_since(lake, pinned, since, COLUMNS, removed=["image_id", "sha256"], created=True)
    images = lake.open_at(pinned)
    rows = changes.rows if changes else images.scanner(columns=COLUMNS, with_row_id=True).to_table()
    rows = _keyed(rows.sort_by("_rowid"), questions)
    version = lake.open(PREDICTIONS).version
    existing = _existing(lake, rows)
    redo = pc.is_in(existing[WRITTEN], pa.array(outside, pa.uint64()))
    if retry_errors:
        redo = pc.or_(redo, _may_succeed(existing["error"]))
    again, settled = existing.filter(redo), existing.filter(pc.invert(redo))
    todo = rows.filter(pc.invert(pc.is_in(rows["id"], settled["id"])))
    labels, errors = _counts(settled)
    if before and changes:
        labels, errors = _added(lake, before, changes, questions, labels, errors)
    return PredictPlan(version, images.count_rows(), todo, frozenset(again["id"].to_pylist()), labels, errors)


def _same_question(step: StepContext, questions: dict[str, str]) -> Record | None:
    """The last materialization, if it asked the same model this question with the same code."""
    before = step.last_record(ASSET)
    if before is None or before.code_version != step.code_versions[ASSET] or IMAGES not in before.progress.inputs:
        return None
    if (
        before.metadata["digest"] != questions["digest"]
        or questions["prompt_digest"] not in before.metadata["questions"]
    ):
        return None
    return before


def _keyed(rows: pa.Table, questions: dict[str, str]) -> pa.Table:
    """Rows with the key of their prediction."""
    ids = [
        prediction_key(image_id, sha256, questions["digest"], questions["prompt_digest"])
        for image_id, sha256 in zip(rows["image_id"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
    ]
    return rows.append_column("id", pa.array(ids, pa.string()))


def _existing(lake: Lake, rows: pa.Table) -> pa.Table:
    return rows_by_key(lake.open(PREDICTIONS), "id", rows["id"].to_pylist(), ["label", "error", WRITTEN])


def _may_succeed(errors: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which errors may go away: failures of the answering, but not missing images."""
    return pc.fill_null(pc.invert(pc.starts_with(errors, f"{NO_IMAGE}:")), False)


def _counts(predictions: pa.Table) -> tuple[Counter[str], Counter[str]]:
    labels = predictions["label"].drop_null().to_pylist()
    return Counter(labels), Counter(reasons(predictions["error"].drop_null()).to_pylist())


def _added(
    lake: Lake,
    before: Record,
    changes: Changes,
    question: dict[str, str],
    labels: Counter[str],
    errors: Counter[str],
) -> tuple[Counter[str], Counter[str]]:
    """New counts, added to those of the last time; images that were removed since are subtracted."""
    lost_labels, lost_errors = _counts(_existing(lake, _keyed(changes.removed, question)))
    counts = before.metadata["questions"][question["prompt_digest"]]
    labels = Counter(counts["predicted_labels"]) - lost_labels + labels
    return labels, Counter(counts["failed_for"]) - lost_errors + errors
