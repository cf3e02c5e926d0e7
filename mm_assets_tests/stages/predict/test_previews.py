"""Previews of predictions: whose rows, which of them, in which order."""

import json
from typing import Any

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.records import Record
from mm_assets.previews.sheets import Section
from mm_assets.stages.predict.previews import previews
from mm_assets.stages.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA
from mm_assets_tests.kit.lake_rows import (
    ODD_NAMES,
    image_row,
    materialized,
    noise,
    plain,
    png,
    record,
    write,
    write_images,
)


def stored(tables: Lake, *rows: dict[str, Any]) -> tuple[Record, dict[str, dict[str, Any]]]:
    write_images(tables, rows)
    return record(tables, "image_table"), {row["image_id"]: row for row in rows}


def answer(image: dict[str, Any], said: str | None, confidence: float | None, **more: Any) -> dict[str, Any]:
    row = {"image_id": image["image_id"], "sha256": image["sha256"], "model_digest": "new", "prompt_digest": "p"}
    return {**row, "id": image["image_id"], "label": said, "answer": said, "confidence": confidence, **more}


def drawn(tables: Lake, images: Record, *rows: dict[str, Any]) -> dict[str, str]:
    write(tables, PREDICTIONS, PREDICTIONS_SCHEMA, rows)
    asked = {"digest": "new", "prompt_digest": "p"}
    return previews(materialized(tables, record(tables, "batch_predictions", [images], **asked)))


def captions(sections: list[Section]) -> dict[str, list[Any]]:
    return {section.title: [list(tile.captions) for tile in section.tiles] for section in sections}


def test_mistakes_come_first_and_the_most_confident_first(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    labels = {"a": "gym", "b": "gym", "c": "pool", "d": None, "e": "gym"}
    images, row = stored(tables, *(image_row(key, label, plain("red")) for key, label in labels.items()))
    said = [("a", "pool", 0.6), ("b", "spa", 0.8), ("c", "pool", 0.7), ("d", "pool", 0.9), ("e", "spa", None)]
    found = drawn(tables, images, *(answer(row[key], label, share) for key, label, share in said))
    assert captions(shown[0][0]) == {
        "most confident mistakes": [["gym", "→ spa", "0.80"], ["gym", "→ pool", "0.60"], ["gym", "→ spa", ""]],
        "right": [["pool", "0.70"]],
        "images without a label": [["→ pool", "0.90"]],
    }
    assert all(tile.image for section in shown[0][0] for tile in section.tiles)
    assert list(found) == ["preview_answers", "preview_predicted", "preview_confidence"]


def test_other_models_prompts_and_bytes_are_not_shown(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    images, row = stored(tables, *(image_row(key, "gym", plain("red")) for key in "abcde"))
    drawn(
        tables,
        images,
        answer(row["a"], "gym", 0.5),
        answer(row["b"], "spa", 0.5, model_digest="old"),
        answer(row["c"], "spa", 0.5, prompt_digest="old"),
        answer(row["d"], "spa", 0.5, sha256="before it changed"),
        answer(row["e"], None, None, error="out of memory"),
        answer({"image_id": "gone", "sha256": "x"}, "spa", 0.5),
    )
    assert captions(shown[0][0]) == {"right": [["gym", "0.50"]]}


def test_images_are_those_of_the_pinned_version(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    images, row = stored(tables, image_row("a", "gym", plain("red")))
    write_images(tables, [image_row("b", "gym", plain("red"))])
    drawn(tables, images, answer(row["a"], "gym", 0.5), answer({**row["a"], "image_id": "b"}, "spa", 0.5))
    assert captions(shown[0][0]) == {"right": [["gym", "0.50"]]}


def test_right_answers_alone_fill_the_gallery(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    images, row = stored(tables, *(image_row(str(n), f"label {n % 3}", plain("red")) for n in range(30)))
    drawn(tables, images, *(answer(image, image["label"], 0.5) for image in row.values()))
    assert [tile.captions[0] for tile in shown[0][0][0].tiles] == [f"label {n}" for n in range(3) for _ in range(4)]


def test_captions_are_shown_as_words(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    images, row = stored(tables, *(image_row(key, None, plain("red")) for key in "ab"))
    texts = {"a": "a red wall", "b": "a wall that is <red> | very red"}
    found = drawn(tables, images, *(answer(row[key], None, 0.5, answer=text) for key, text in texts.items()))
    assert captions(shown[0][0]) == {"captions": [[text] for text in texts.values()]}
    assert list(found) == ["preview_answers", "preview_confidence"]


def test_no_answer_is_a_sentence(tables: Lake) -> None:
    images, row = stored(tables, image_row("a", "gym", None))
    found = drawn(tables, images, answer(row["a"], None, None, error="no image: corrupt"))
    assert found == {"preview_answers": "No image has an answer."}


def test_noise_and_odd_names_keep_the_budget(tables: Lake) -> None:
    rows = [image_row(f"{n}", ODD_NAMES[n % 10], png(noise(n))) for n in range(40)]
    images, row = stored(tables, *rows)
    said = [answer(image, ODD_NAMES[(n + n % 2) % 10], 0.5) for n, image in enumerate(row.values())]
    assert len(json.dumps(drawn(tables, images, *said))) <= 45_000
