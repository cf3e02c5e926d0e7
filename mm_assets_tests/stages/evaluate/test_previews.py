"""Previews of an evaluation: which classes, which mistakes in which order, and from which version of the images."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.registry import SCHEMA, TABLE
from mm_assets.judging.statistics import confusion
from mm_assets.lineage.records import Record
from mm_assets.previews import plots
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets.stages.evaluate.previews import most_confused, previews, square
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets_tests.kit.lake_rows import (
    ODD_NAMES,
    calls_of,
    image_row,
    materialized,
    noise,
    plain,
    png,
    record,
    write,
    write_images,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def trained(tables: Lake, *rows: dict[str, Any]) -> Record:
    """A checkpoint of a dataset of these images."""
    write_images(tables, rows)
    images = record(tables, "image_table")
    write(tables, SFT, SFT_SCHEMA, [])
    write(tables, TABLE, SCHEMA, [])
    return record(tables, "llava_checkpoint", [record(tables, "sft_dataset", [images])])


def answer(image_id: str, label: str, said: str | None, confidence: float | None, **more: Any) -> dict[str, Any]:
    row = {"id": image_id, "image_id": image_id, "label": label, "challenger_label": said, "at": NOW}
    return {**row, "challenger_confidence": confidence, **more}


def drawn(tables: Lake, checkpoint: Record, *rows: dict[str, Any], **metadata: Any) -> dict[str, str]:
    write(tables, EVALUATIONS, EVALUATIONS_SCHEMA, rows)
    return previews(materialized(tables, record(tables, "evaluation", [checkpoint], **metadata)))


def test_the_most_confident_mistakes_come_first(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    checkpoint = trained(tables, *(image_row(str(n), "gym", plain("red")) for n in range(12)))
    write_images(tables, [image_row("later", "gym", plain("blue"))])
    drawn(
        tables,
        checkpoint,
        answer("1", "gym", "pool", 0.5),
        answer("2", "gym", "gym", 0.99),
        answer("3", "gym", "spa", 0.9),
        answer("4", "gym", None, None, error="out of memory"),
        answer("later", "gym", "spa", 0.7),
        answer("5", "gym", "spa", None),
        answer("6", "gym", "pool", 0.99, at=datetime(2026, 4, 1, tzinfo=UTC)),
    )
    (section,) = shown[0][0]
    assert [tile.captions for tile in section.tiles] == [
        ["gym", "→ spa", "0.90"],
        ["gym", "→ spa", "0.70"],
        ["gym", "→ pool", "0.50"],
        ["gym", "→ spa", ""],
    ]
    # The image that came after the checkpoint's dataset is not at the version that was evaluated.
    assert [tile.image is None for tile in section.tiles] == [False, True, False, False]


def test_captions_with_the_lowest_score(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    checkpoint = trained(tables, *(image_row(str(n), "gym", plain("red")) for n in range(3)))
    scores = {"0": 0.5, "1": 0.25, "2": 0.75}
    rows = [
        answer(key, "gym", None, None, task="caption", caption=f"number {key}", challenger_score=score)
        for key, score in scores.items()
    ]
    assert list(drawn(tables, checkpoint, *rows)) == ["preview_mistakes"]
    assert [tile.captions[-1] for tile in shown[0][0][0].tiles] == ["number 1", "number 0", "number 2"]


def test_lost_history_leaves_cards_without_pictures(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    write(tables, TABLE, SCHEMA, [])
    drawn(tables, record(tables, "llava_checkpoint"), answer("1", "gym", "pool", 0.5))
    assert [tile.image for tile in shown[0][0][0].tiles] == [None]


def test_no_mistake_is_no_sheet(tables: Lake) -> None:
    matrix = confusion(["gym", "pool"], ["gym", "pool"])
    found = drawn(tables, trained(tables), answer("1", "gym", "gym", 0.5), confusion=matrix)
    assert list(found) == ["preview_confusion", "preview_recall"]
    assert drawn(tables, trained(tables)) == {}


def test_a_matrix_has_a_row_for_every_true_label(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    found, bars = calls_of(monkeypatch, plots, "matrix"), calls_of(monkeypatch, plots, "bars")
    matrix = confusion(["gym", "gym", "gym", "pool"], ["gym", "spa", None, "pool"])
    drawn(tables, trained(tables), confusion=matrix)
    _, labels, answers, counts, totals, _ = found[0]
    assert (labels, answers) == (["gym", "pool"], ["error", "gym", "pool", "spa"])
    assert counts.tolist() == [[1, 1, 0, 1], [0, 0, 1, 0]]
    assert totals.tolist() == [3, 1]
    _, shares, *_, notes = bars[0]
    assert shares == [("gym", pytest.approx(1 / 3)), ("pool", 1)]
    assert notes == ["0.33 of 3", "1.00 of 1"]


def test_of_many_classes_the_most_confused_are_shown() -> None:
    counts = np.diag(np.arange(300))
    counts[7, 250] = 3
    counts[80, 81] = 1
    assert most_confused(counts, 4).tolist() == [7, 80, 81, 250]
    assert most_confused(counts, 5).tolist() == [7, 80, 81, 250, 299]
    assert most_confused(counts[:3, :3], 5).tolist() == [0, 1, 2]


def test_a_square_of_all_labels_and_answers() -> None:
    names, counts = square({"gym": {"spa": 2}, "pool": {"pool": 1}})
    assert names == ["gym", "pool", "spa"]
    assert counts.tolist() == [[0, 0, 2], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("classes", [1, 31, 300])
def test_many_classes_noise_and_odd_names_keep_the_budget(tables: Lake, classes: int) -> None:
    rng = np.random.default_rng(1)
    names = [f"{number} {ODD_NAMES[number % 10]}" for number in range(classes)]
    matrix = {label: {said: int(rng.integers(0, 9)) for said in names} for label in names}
    checkpoint = trained(tables, *(image_row(str(n), names[0], png(noise(n))) for n in range(9)))
    rows = [answer(str(n), names[0], f"not {name}", 0.9) for n, name in enumerate(ODD_NAMES[:9])]
    found = drawn(tables, checkpoint, *rows, confusion=matrix)
    assert len(json.dumps(found)) <= 45_000
    assert found["preview_confusion"].startswith("The 30 of") == (classes > 30)
