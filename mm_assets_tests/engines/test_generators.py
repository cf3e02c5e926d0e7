"""Label scoring against a plain forward pass per answer, and errors that cost one row."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mm_assets.chat import assistant_message, user_message
from mm_assets.demo.pictures import draw_area
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.generators import Answer, Answerer, LabelScorer, Question
from mm_assets.settings import PredictSettings

QUESTION = Question("what is it?", {"pool": "a pool.", "gym": "this is a photo of a gym, I think.", "spa": "spa"})


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def scorer(model_dir: Path) -> LabelScorer:
    return LabelScorer(model_dir, QUESTION, PredictSettings())


def pictures() -> list[Image.Image]:
    """Of three shapes: their image tokens differ in number, so the batch is padded."""
    rng = np.random.default_rng(5)
    sizes = [(96, 96), (200, 100), (60, 180)]
    return [draw_area(label, rng).resize(size) for label, size in zip(("pool", "gym", "lobby"), sizes, strict=True)]


def log_likelihood(scorer: LabelScorer, image: Image.Image, answer: str) -> float:
    """The sum of the answer's token log-probabilities, by one forward pass over the whole conversation."""
    processor, model = scorer._processor, scorer._model
    whole = [user_message(QUESTION.prompt), assistant_message(answer)]
    texts = [processor.apply_chat_template(messages, tokenize=False) for messages in (whole[:1], whole)]
    inputs = [processor(text=t, images=image, return_tensors="pt", add_special_tokens=False) for t in texts]
    asked = inputs[0]["input_ids"].shape[1]
    with torch.inference_mode():
        logits = model(**inputs[1]).logits[0].log_softmax(dim=-1)
    tokens = inputs[1]["input_ids"][0]
    return float(logits[asked - 1 : -1].gather(-1, tokens[asked:, None]).sum())


def test_scores_equal_those_of_one_pass_per_answer(scorer: LabelScorer) -> None:
    expected = [[log_likelihood(scorer, image, text) for text in QUESTION.answers.values()] for image in pictures()]
    with torch.inference_mode():
        found = scorer._log_likelihoods(pictures())
    assert found.tolist() == [pytest.approx(row, abs=5e-4) for row in expected]


def test_an_answer_is_a_label_with_its_share(scorer: LabelScorer) -> None:
    answers = scorer.answer(pictures())
    assert all(label in QUESTION.answers and 0 < share <= 1 for label, share in answers)
    assert answers[0][1] == pytest.approx(scorer.answer(pictures()[:1])[0][1], abs=1e-3)


def test_one_bad_image_costs_one_row(scorer: LabelScorer) -> None:
    class Images:
        def read(self, image_ids: list[str]) -> list[Image.Image]:
            if "bad" in image_ids:
                raise OSError("unreadable")
            return [pictures()[0] for _ in image_ids]

    answerer = Answerer.__new__(Answerer)
    answerer._images, answerer._question, answerer._generator = Images(), QUESTION, scorer  # type: ignore[assignment]
    answers = answerer(["a", "bad", "b"])
    assert [answer.image_id for answer in answers] == ["a", "bad", "b"]
    assert answers[1] == Answer("bad", error="OSError: unreadable")
    assert {answers[0].label, answers[2].label} <= set(QUESTION.answers)
