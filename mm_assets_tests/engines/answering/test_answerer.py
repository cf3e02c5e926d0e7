"""A worker over rows: what one bad image costs, and what is no image's fault."""

import dataclasses
import io
import time

import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.engines.answering import pictures as answering_pictures
from mm_assets.engines.answering.questions import Answer, Question
from mm_assets.engines.answering.transformers.answerer import Answerer
from mm_assets.engines.answering.transformers.generators import generator_for
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.settings import PredictSettings
from mm_assets_tests.kit.lake_rows import calls_of
from mm_assets_tests.kit.questions import ASKED, DESCRIBE, KNOWN, images


class Stored:
    """Files of which some are no images."""

    def stored(self, rows: pa.Table) -> list[bytes]:
        ids = rows["image_id"].to_pylist()
        return [b"words" if image_id.startswith("bad") else as_png(images()[0]) for image_id in ids]


class Silent:
    """A lake that does not answer."""

    def stored(self, rows: pa.Table) -> list[bytes]:
        raise OSError(f"no answer to {rows.num_rows} reads")


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def part(*image_ids: str) -> pa.Table:
    whole = range(len(image_ids))
    return pa.table({"image_id": image_ids, "_rowid": whole, "question": [0 for _ in whole]})


def answerer_of(loaded: LoadedModel, question: Question, lake: Stored | Silent | None = None) -> Answerer:
    answerer = Answerer.__new__(Answerer)
    answerer._images, answerer._loaded = lake or Stored(), loaded  # type: ignore[assignment]
    answerer._generators = [generator_for(question, loaded, PredictSettings(max_new_tokens=4))]
    answerer._worker, answerer._start_s, answerer._ready, answerer._computing_s = "me", 1.0, time.monotonic(), 0.0
    answerer._batch_size = 2
    return answerer


def test_an_engine_that_answers_nothing_is_an_error_of_the_job(loaded: LoadedModel) -> None:
    with pytest.raises(RuntimeError, match="none of 4 images could be answered: ImageError: not an image"):
        answerer_of(loaded, ASKED)(part("bad1", "bad2", "bad3", "bad4"))


def test_a_lake_that_does_not_answer_is_no_images_fault(loaded: LoadedModel) -> None:
    with pytest.raises(OSError, match="no answer to 2 reads"):
        answerer_of(loaded, ASKED, Silent())(part("0", "1"))


@pytest.mark.parametrize("question", [ASKED, DESCRIBE, KNOWN], ids=["label", "write", "score"])
def test_one_bad_image_costs_one_row(loaded: LoadedModel, question: Question) -> None:
    answers = answerer_of(loaded, question)(part("0", "bad", "2")).answers
    assert [answer.image_id for answer in answers] == ["0", "bad", "2"]
    assert str(answers[1].error).startswith("ImageError: not an image")
    assert answers[1] == Answer("bad", error=answers[1].error)
    assert [answer.error for answer in (answers[0], answers[2])] == [None, None]


def test_an_image_is_decoded_once_for_all_questions(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = calls_of(monkeypatch, answering_pictures, "decode")
    answerer = answerer_of(loaded, ASKED)
    answerer._generators.append(generator_for(DESCRIBE, loaded, PredictSettings(max_new_tokens=4)))
    asked = {"image_id": ["0", "0", "bad", "bad", "2"], "_rowid": [5, 5, 6, 6, 7], "question": [0, 1, 0, 1, 1]}
    found = answerer(pa.table(asked))
    assert len(decoded) == 3
    kinds = [answer.confidence_kind for answer in found.answers]
    assert kinds == ["label_share", "mean_token_probability", None, None, "mean_token_probability"]
    assert [answer.image_id for answer in found.answers] == asked["image_id"]
    assert 0 < found.usages[0].waited_s < found.usages[0].run_s
    assert min(found.usages[0].prompt_tokens, found.usages[0].output_tokens) > 0


def test_a_caption_that_the_engine_cannot_read_costs_one_row(loaded: LoadedModel) -> None:
    question = dataclasses.replace(KNOWN, references={"0": "a pool.", "2": "spa"})
    answers = answerer_of(loaded, question)(part("0", "1", "2")).answers
    assert answers[1].error == "KeyError: '1'"
    assert None not in (answers[0].score, answers[2].score)
