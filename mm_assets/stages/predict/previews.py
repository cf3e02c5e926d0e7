"""Previews of the predictions: a gallery with the worst mistakes first, the predicted labels, and the confidence."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import IMAGE_TABLE
from mm_assets.lineage.records import Record
from mm_assets.previews import plots, rows
from mm_assets.previews.sheets import Section, Tile, sheet
from mm_assets.stages.predict.join import join_answers

if TYPE_CHECKING:
    import lance

    from mm_assets.history.materialized import Materialized

MAX_LABELS = 26
TILES, MISTAKES, RIGHT = 12, 8, 4
# Lines of a model's caption in the gallery.
CAPTION_LINES = 4
COLUMNS = ["image_id", "sha256", "answer", "label", "confidence", "confidence_kind"]


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of `batch_predictions`."""
    pinned = {item.asset: item.record_id for item in materialized.record.inputs}
    images = materialized.lake.open_at(materialized.history.records[pinned[IMAGE_TABLE.key]].ref)
    answers = _answers(materialized.ds, images, materialized.record)
    if not answers.num_rows:
        return {"preview_answers": "No image has an answer."}
    pictures = {"preview_answers": _gallery(images, answers)}
    labels, _ = rows.largest(answers["label"].drop_null(), MAX_LABELS)
    if labels:
        pictures["preview_predicted"] = plots.bars("Answers", labels, "images", 9_000)
    confidence = rows.numbers(answers["confidence"])
    finite = confidence[np.isfinite(confidence)]
    if len(finite):
        kind = next(iter(answers["confidence_kind"].drop_null().to_pylist()), "confidence")  # all are of one kind
        pictures["preview_confidence"] = plots.histograms("Confidence", {kind: finite}, 6_000, span=(0, 1))
    return pictures


def _answers(predictions: "lance.LanceDataset", images: "lance.LanceDataset", record: Record) -> pa.Table:
    """The answers of this model and prompt to the pinned images, with the true label as `known`."""
    labelled = images.scanner(columns=["image_id", "sha256", "label"], with_row_id=True).to_table()
    answers = join_answers(predictions, record, labelled, COLUMNS)
    return answers.select([*COLUMNS, "of_label", "of__rowid"]).rename_columns([*COLUMNS, "known", "_rowid"])


def _gallery(images: "lance.LanceDataset", answers: pa.Table) -> str:
    wrong, right, unknown, captions = chosen(answers)
    sections = [
        Section("most confident mistakes", _tiles(images, wrong, lambda row: [row["known"], f"→ {row['label']}"])),
        Section("right", _tiles(images, right, lambda row: [row["label"]])),
        Section("images without a label", _tiles(images, unknown, lambda row: [f"→ {row['label']}"])),
        Section("captions", _captioned(images, captions)),
    ]
    return sheet("Answers", sections, 4, 24_000)


def chosen(answers: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """At most `TILES` rows: wrong labels (the most confident first), right ones, images without a label, captions."""
    wrong = answers.filter(pc.not_equal(answers["known"], answers["label"]))
    wrong = wrong.sort_by([("confidence", "descending"), ("image_id", "ascending")]).slice(0, MISTAKES)
    right = answers.filter(pc.equal(answers["known"], answers["label"]))
    unknown = answers.filter(pc.and_(pc.is_null(answers["known"]), pc.is_valid(answers["label"])))
    captions = answers.filter(pc.is_null(answers["label"]))
    right = right.take(rows.spread(right["label"], RIGHT if wrong.num_rows or unknown.num_rows else TILES))
    left = TILES - wrong.num_rows - right.num_rows
    unknown = unknown.take(rows.spread(unknown["label"], left))
    return wrong, right, unknown, captions.take(rows.spread(captions["known"], left - unknown.num_rows))


def _tiles(
    images: "lance.LanceDataset", selected: pa.Table, words: Callable[[dict[str, Any]], list[str]]
) -> list[Tile]:
    pictures = rows.pictures(images, selected["_rowid"].to_pylist())
    lines = [[*words(row), rows.share(row["confidence"])] for row in selected.to_pylist()]
    return [Tile(image, captions) for image, captions in zip(pictures, lines, strict=True)]


def _captioned(images: "lance.LanceDataset", captions: pa.Table) -> list[Tile]:
    pictures = rows.pictures(images, captions["_rowid"].to_pylist())
    texts = captions["answer"].to_pylist()
    return [Tile(image, [text], last_lines=CAPTION_LINES) for image, text in zip(pictures, texts, strict=True)]
