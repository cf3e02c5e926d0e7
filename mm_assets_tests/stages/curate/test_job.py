"""The dataset of one task or two: ids, words, pre-flight, own scorers' limits, and when there is nothing to learn."""

from typing import Any

import pyarrow as pa
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.errors import RefusalError
from mm_assets.scoring import FunctionScorer
from mm_assets.settings import CurateSettings, Limit
from mm_assets_tests.kit.small_lake import BUILT_IN, CAPTION, LABEL, dataset, photos, store

BOTH = CurateSettings(tasks=[LABEL, CAPTION])
CAPTIONS = CurateSettings(tasks=[CAPTION])


def rows(tables: Lake) -> dict[str, dict[str, Any]]:
    return {row["example_id"]: row for row in tables.open("sft").to_table().to_pylist()}


def said(row: dict[str, Any]) -> list[str]:
    return [part["text"] for message in row["messages"] for part in message["content"] if part["type"] == "text"]


def test_an_image_gives_an_example_of_each_task(tables: Lake) -> None:
    store(tables, photos())
    made = dataset(tables, BOTH)
    found = rows(tables)
    assert len(found) == made.metadata["rows"] == 32
    label, caption = found["label:train-1.png"], found["caption:train-1.png"]
    assert (label["task"], label["split"]) == ("label", "train")
    assert said(label) == ["what is it?", f"a {label['label']}."]
    assert (caption["task"], caption["split"]) == ("caption", "train")
    assert said(caption) == ["describe it", caption["caption"]]
    assert label["images"] == caption["images"]
    assert made.metadata["labels"] == ["Terrace/Patio", "pool"]
    expected = [{**task.model_dump(), "examples": 16} for task in (LABEL, CAPTION)]
    assert made.metadata["tasks"] == expected


def test_the_same_dataset_is_not_written_again(tables: Lake) -> None:
    store(tables, photos())
    dataset(tables, BOTH)
    version = tables.open("sft").version
    dataset(tables, BOTH)
    assert tables.open("sft").version == version


def test_words_in_braces_are_plain_text_and_special_tokens_are_caught(tables: Lake) -> None:
    odd = {"train-1.png": "a sign: {labels} {caption}", "train-2.png": "a sign: </s>", "train-4.png": "<image>"}
    store(tables, photos(odd))
    dataset(tables, BOTH)
    found = rows(tables)
    assert said(found["caption:train-1.png"])[1] == "a sign: {labels} {caption}"
    for name, token in (("train-2.png", "</s>"), ("train-4.png", "<image>")):
        assert found[f"caption:{name}"]["left_out"] == f"pre-flight: the text contains the special token {token}"
        assert found[f"label:{name}"]["left_out"] is None


def test_a_long_caption_is_left_out(tables: Lake) -> None:
    store(tables, photos({"train-1.png": "Ü" * 100}))
    dataset(tables, CAPTIONS.model_copy(update={"max_tokens": 150}))
    reason = str(rows(tables)["caption:train-1.png"]["left_out"])
    assert reason.startswith("pre-flight: ")
    assert reason.endswith(" tokens, max_tokens is 150")


def test_a_score_of_ones_own_can_be_limited(tables: Lake) -> None:
    watermark = FunctionScorer(
        "marks", "1", {"watermark": pa.float32(), "where": pa.list_(pa.int32())}, lambda _: {}, ""
    )
    other = FunctionScorer("other", "1", {"other": pa.float32()}, lambda _: {}, "")
    known = photos()
    known[0]["watermark"], known[1]["marks_error"] = 0.83, "ValueError: x"
    whole = [{"watermark": 0.1, "where": [1], **row} for row in known]
    store(tables, whole, [*BUILT_IN, watermark, other])
    settings = BOTH.model_copy(update={"limits": {"watermark": Limit(max=0.5)}})
    dataset(tables, settings, [*BUILT_IN, watermark])
    found = rows(tables)
    for task in ("label", "caption"):
        of_task = [found[f"{task}:{row['image_id']}"]["left_out"] for row in known]
        assert of_task[0] == "limit: watermark 0.83, limits.watermark.max is 0.5"
        assert of_task[1] == "not scored: marks, ValueError: x"
        assert of_task[2:] == [None] * 14


def test_one_class_is_refused_also_beside_captions(tables: Lake) -> None:
    store(tables, [{**row, "label": "pool"} for row in photos()])
    with pytest.raises(RefusalError, match=r"MM_SOURCE\): one class only \(pool\) is left of 16 images: a classifier"):
        dataset(tables, BOTH)


def test_captions_alone_need_no_label(tables: Lake) -> None:
    store(tables, [{**row, "label": None} for row in photos()])
    made = dataset(tables, CAPTIONS)
    assert made.metadata["labels"] == []
    assert made.metadata["splits"] == {"train": 6, "validation": 2, "test": 8}
    with pytest.raises(
        RefusalError, match=r"no usable example is left of 16 images \(most often left out for: no label"
    ):
        dataset(tables, BOTH)


def test_captions_alone_need_one_to_train_on(tables: Lake) -> None:
    known = [row if row["image_id"].startswith("test") else {**row, "caption": None} for row in photos()]
    store(tables, known)
    sentence = r"no caption to train on is left of 16 images \(most often left out for: no caption.*, 8 times\)"
    with pytest.raises(RefusalError, match=sentence):
        dataset(tables, CAPTIONS)
    assert not tables.exists("sft")


def test_a_lighter_task_is_counted_as_it_is_taken(tables: Lake) -> None:
    store(tables, photos())
    lighter = LABEL.model_copy(update={"weight": 0.2})
    made = dataset(tables, BOTH.model_copy(update={"tasks": [lighter, CAPTION]}))
    assert [task["examples"] for task in made.metadata["tasks"]] == [11, 16]  # held-out examples are all kept
    assert made.metadata["left_out"] == {"weight": 5}
    assert rows(tables)["label:train-1.png"]["left_out"] == "weight: label has 0.2 of 1"
