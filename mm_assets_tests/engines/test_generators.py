"""Label scoring against a plain forward pass per answer, and errors that cost one row."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

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


def test_answers_in_several_passes_score_the_same(model_dir: Path, scorer: LabelScorer) -> None:
    one_by_one = LabelScorer(model_dir, QUESTION, PredictSettings(answers_at_once=1))
    with torch.inference_mode():
        found, expected = (each._log_likelihoods(pictures()).tolist() for each in (one_by_one, scorer))
    assert found == [pytest.approx(row, abs=5e-4) for row in expected]


def test_an_answer_is_tokenized_with_its_prompt(scorer: LabelScorer) -> None:
    """A SentencePiece-like tokenizer begins every text with a token of its own; an answer must not get one."""
    joint = Tokenizer(models.BPE(unk_token="<unk>"))
    joint.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "</s>", "<s>", "<image>"])
    joint.train_from_iterator(["what is it? [/INST] a pool. this is a photo of a gym, I think. [INST] \n"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joint, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    render = scorer._processor.apply_chat_template
    other = LabelScorer.__new__(LabelScorer)
    other._device = "cpu"
    other._processor = SimpleNamespace(tokenizer=tokenizer, apply_chat_template=render)
    asked, tokens, known = other._prepare(Question("what is it?", {"pool": "a pool."}))
    whole = render([user_message("what is it?"), assistant_message("a pool.")], tokenize=False)
    answer = tokens[0][known[0].bool()].tolist()
    assert other._ids(asked) + answer == other._ids(whole)
    assert answer != other._ids(whole.removeprefix(asked))


class Images:
    """Images of which some cannot be read."""

    def read(self, image_ids: list[str]) -> list[Image.Image]:
        if any(image_id.startswith("bad") for image_id in image_ids):
            raise OSError("unreadable")
        return [pictures()[0] for _ in image_ids]


def answerer_of(scorer: LabelScorer) -> Answerer:
    answerer = Answerer.__new__(Answerer)
    answerer._images, answerer._question, answerer._generator = Images(), QUESTION, scorer  # type: ignore[assignment]
    return answerer


def test_an_engine_that_answers_nothing_is_an_error_of_the_job(scorer: LabelScorer) -> None:
    with pytest.raises(RuntimeError, match="none of 4 images could be answered: OSError: unreadable"):
        answerer_of(scorer)(["bad1", "bad2", "bad3", "bad4"])


def test_one_bad_image_costs_one_row(scorer: LabelScorer) -> None:
    answerer = answerer_of(scorer)
    answers = answerer(["a", "bad", "b"])
    assert [answer.image_id for answer in answers] == ["a", "bad", "b"]
    assert answers[1] == Answer("bad", error="OSError: unreadable")
    assert {answers[0].label, answers[2].label} <= set(QUESTION.answers)
