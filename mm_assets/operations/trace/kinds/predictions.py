"""Predictions: what models said of an image, and where one prediction comes from."""

import re
from collections.abc import Sequence

from mm_assets.catalog import BATCH_PREDICTIONS, IMAGE_TABLE
from mm_assets.engines.lake.rows import is_in
from mm_assets.operations.trace.kinds.images import CREATED, Past, pinned_node, read_pasts
from mm_assets.operations.trace.kinds.models import model_node
from mm_assets.operations.trace.lake import Row, TracedLake, rows_where
from mm_assets.operations.trace.nodes import Node, Trace
from mm_assets.stages.predict.tables import PREDICTIONS

ASSET = BATCH_PREDICTIONS.key
COLUMNS = [
    *("id", "image_id", "sha256", "model_digest", "prompt_digest"),
    *("answer", "label", "confidence", "confidence_kind", "error", CREATED),
]


def predictions_of(lake: TracedLake, image_ids: Sequence[str]) -> dict[str, list[Row]]:
    """The predictions of images, by image id, in the order in which they were made."""
    by_image: dict[str, list[Row]] = {}
    rows = rows_where(lake.head(PREDICTIONS), is_in("image_id", image_ids), COLUMNS)
    for row in sorted(rows, key=lambda row: (row[CREATED], row["id"])):
        by_image.setdefault(row["image_id"], []).append(row)
    return by_image


def prediction_node(lake: TracedLake, row: Row, past: Past) -> Node:
    """What one model said of an image."""
    return Node("prediction", row["id"], {**_prediction_facts(lake, row, past), **_written(lake, row)})


def _prediction_facts(lake: TracedLake, row: Row, past: Past) -> dict[str, object]:
    """Facts of a prediction; `right` is null where the label of its bytes is unknown."""
    image_row = past.holding(row["sha256"])
    label = image_row.row["label"] if image_row else None
    names = ("model_digest", "prompt_digest", "answer", "label", "confidence", "confidence_kind", "error", "sha256")
    return {
        "image_id": row["image_id"],
        **{name: row[name] for name in names},
        "right": row["label"] == label if row["label"] is not None and label is not None else None,
        "same_bytes": row["sha256"] == past.sha256 if past.rows else None,
        "in_production": row["model_digest"] == lake.production,
    }


def _written(lake: TracedLake, row: Row) -> dict[str, object]:
    commit = lake.commit(PREDICTIONS, row[CREATED], ASSET)
    return {name: commit[name] for name in ("data_version", "run_id", "exact")}


def find_prediction(lake: TracedLake, what: str) -> list[Trace]:
    """The prediction with this id: the bytes, the model and the run that it comes from."""
    if not re.fullmatch("[0-9a-f]{32}", what):
        return []
    return [_trace(lake, row) for row in rows_where(lake.head(PREDICTIONS), is_in("id", [what]), COLUMNS)]


def _trace(lake: TracedLake, row: Row) -> Trace:
    past = read_pasts(lake, [row["image_id"]])[row["image_id"]]
    commit = lake.commit(PREDICTIONS, row[CREATED], ASSET)
    written = Node("commit", commit["data_version"], {"did": "wrote the row", **commit})
    up = (
        written,
        pinned_node(past, row["sha256"], commit["inputs"].get(IMAGE_TABLE.key)),
        model_node(lake, row["model_digest"]),
    )
    return Trace("prediction", row["id"], {**_prediction_facts(lake, row, past), **_written(lake, row)}, up)
