"""Previews of an evaluation: the confusion matrix, the recall of each class, and the worst mistakes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from mm_assets.catalog import IMAGE_TABLE, LLAVA_CHECKPOINT, SFT_DATASET
from mm_assets.lineage.refs import LanceRef
from mm_assets.previews import plots, rows
from mm_assets.previews.sheets import Section, Tile, sheet

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized

MAX_CLASSES, MAX_BARS = 30, 25
MISTAKES = 8
CAPTION_LINES = 4
COLUMNS = [
    "at",
    "image_id",
    "label",
    "challenger_label",
    "challenger_confidence",
    "task",
    "caption",
    "challenger_score",
]
# The inputs that lead from an evaluation back to its images.
PATH = (LLAVA_CHECKPOINT.key, SFT_DATASET.key, IMAGE_TABLE.key)


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of `evaluation`."""
    pictures = {}
    confusion = materialized.record.metadata.get("confusion")
    if confusion:
        names, counts = square(confusion)
        pictures = {"preview_confusion": _matrix(names, counts), "preview_recall": _recall(names, counts)}
    evaluated = newest(materialized.ds.to_table(columns=COLUMNS))
    sections = [
        Section("most confident mistakes", _tiles(materialized, mistakes(evaluated, MISTAKES), _mistake)),
        Section("captions with the lowest score", _tiles(materialized, unexpected(evaluated, MISTAKES), _caption)),
    ]
    if any(section.tiles for section in sections):
        pictures["preview_mistakes"] = sheet("Mistakes", sections, 4, 17_000)
    return pictures


def square(confusion: Mapping[str, Mapping[str, int]]) -> tuple[list[str], np.ndarray]:
    """All labels and answers in order, and the counts by true label (rows) and answer (columns)."""
    names = sorted({*confusion, *(answer for row in confusion.values() for answer in row)})
    counts = [[confusion.get(label, {}).get(answer, 0) for answer in names] for label in names]
    return names, np.asarray(counts, dtype=np.int64)


def _matrix(names: list[str], counts: np.ndarray) -> str:
    chosen = most_confused(counts, MAX_CLASSES)
    totals = counts.sum(axis=1)
    true_labels = chosen[totals[chosen] > 0]  # an error, or a label of no example, is an answer without a row
    cells = counts[np.ix_(true_labels, chosen)]
    labels, answers = [names[i] for i in true_labels], [names[i] for i in chosen]
    picture = plots.matrix("Answers by true label", labels, answers, cells, totals[true_labels], 16_000)
    if len(chosen) == len(names):
        return picture
    return f"The {len(chosen)} of {len(names):,} classes that are confused most\n\n{picture}"


def most_confused(counts: np.ndarray, most: int) -> np.ndarray:
    """Positions of at most `most` classes, rising: those in most mistakes, then those with most examples."""
    mistaken = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    order = np.lexsort((np.arange(len(counts)), -counts.sum(axis=1), -mistaken))
    return np.sort(order[:most])


def _recall(names: list[str], counts: np.ndarray) -> str:
    """Bars of the recall of each class, the worst classes on top."""
    totals = counts.sum(axis=1)
    true_labels = np.flatnonzero(totals)
    shares = counts.diagonal()[true_labels] / totals[true_labels]
    worst = np.argsort(shares, kind="stable")[:MAX_BARS]
    bars = [(names[true_labels[i]], float(shares[i])) for i in worst]
    notes = [f"{shares[i]:.2f} of {totals[true_labels[i]]:,}" for i in worst]
    picture = plots.bars("Recall by class", bars, "share that was recognised", 10_000, notes)
    return (
        picture
        if len(worst) == len(true_labels)
        else f"The {len(worst)} worst of {len(true_labels):,} classes\n\n{picture}"
    )


def newest(evaluated: pa.Table) -> pa.Table:
    """The rows of the last evaluation in a table of all."""
    return evaluated.filter(pc.equal(evaluated["at"], pc.max(evaluated["at"])))


def mistakes(evaluated: pa.Table, most: int) -> list[dict[str, Any]]:
    """Rows with a wrong label, the most confident first; a missing answer is not a wrong label."""
    wrong = evaluated.filter(pc.not_equal(evaluated["label"], evaluated["challenger_label"]))
    order = [("challenger_confidence", "descending"), ("image_id", "ascending")]
    return wrong.sort_by(order).slice(0, most).to_pylist()


def unexpected(evaluated: pa.Table, most: int) -> list[dict[str, Any]]:
    """Captions with the lowest score first."""
    captions = evaluated.filter(pc.equal(evaluated["task"], "caption"))
    return captions.sort_by([("challenger_score", "ascending"), ("image_id", "ascending")]).slice(0, most).to_pylist()


def _images(materialized: "Materialized") -> LanceRef | None:
    """The version of the image table that the evaluated examples were made from; None where the history lacks it."""
    record, records = materialized.record, materialized.history.records
    for asset in PATH:
        source = next((records.get(item.record_id) for item in record.inputs if item.asset == asset), None)
        if source is None:
            return None
        record = source
    return record.ref


def _tiles(materialized: "Materialized", examples: list[dict[str, Any]], tile: Callable[..., Tile]) -> list[Tile]:
    images, ids = _images(materialized) if examples else None, [row["image_id"] for row in examples]
    pictures = rows.pictures_of(materialized.lake.open_at(images), ids) if images else [None] * len(ids)
    return [tile(image, row) for image, row in zip(pictures, examples, strict=True)]


def _mistake(image: Image.Image | None, row: dict[str, Any]) -> Tile:
    return Tile(image, [row["label"], f"→ {row['challenger_label']}", rows.share(row["challenger_confidence"])])


def _caption(image: Image.Image | None, row: dict[str, Any]) -> Tile:
    return Tile(image, [rows.share(row["challenger_score"]), row["caption"] or ""], last_lines=CAPTION_LINES)
