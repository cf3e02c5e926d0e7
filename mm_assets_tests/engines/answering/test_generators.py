"""Label scoring, caption writing and caption scoring against plain forward passes; errors that cost one row."""

import dataclasses
import io
import math
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from mm_assets.demo.pictures import draw_area
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.answering import pictures as answering_pictures
from mm_assets.engines.answering.pictures import Picture
from mm_assets.engines.answering.questions import PATH, Answer, Question, main_task, reference
from mm_assets.engines.answering.transformers.answerer import Answerer
from mm_assets.engines.answering.transformers.generators import CaptionScorer, LabelScorer, Writer, generator_for
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.engines.models.registry import Model
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import Decoding, PredictSettings
from mm_assets_tests.kit.lake_rows import calls_of

ANSWERS = {"pool": "a pool.", "Gym/Spa": "this is a photo of a Gym/Spa, I think.", "spa": "spa"}
ASKED = Question("label", "what is it?", ANSWERS)
DESCRIBE = Question("caption", "what is it?")
CAPTIONS = {"0": "a pool.", "1": "this is a photo of a pool, a lobby, a gym.", "2": 'a "photo"'}
KNOWN = dataclasses.replace(DESCRIBE, references=CAPTIONS)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("tiny")
    build(folder, seed=3)
    return LoadedModel.load(folder, PredictSettings())


def images() -> list[Image.Image]:
    """Of three shapes: their image tokens differ in number, so the batch is padded."""
    rng = np.random.default_rng(5)
    sizes = [(96, 96), (200, 100), (60, 180)]
    return [draw_area(label, rng).resize(size) for label, size in zip(("pool", "gym", "lobby"), sizes, strict=True)]


def pictures() -> list[Picture]:
    return [Picture(str(number), image) for number, image in enumerate(images())]


def foretold(loaded: LoadedModel, image: Image.Image, answer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities before each token of the answer, and the tokens, by one pass over the conversation."""
    texts = [loaded.prompts.prompt_text(ASKED.prompt), loaded.prompts.dialogue_text(ASKED.prompt, answer)]
    inputs = [loaded.processor(text=t, images=image, return_tensors="pt", add_special_tokens=False) for t in texts]
    asked = inputs[0]["input_ids"].shape[1]
    with torch.inference_mode():
        logits = loaded.model(**inputs[1]).logits[0].log_softmax(dim=-1)
    return logits[asked - 1 : -1], inputs[1]["input_ids"][0, asked:]


def log_likelihood(loaded: LoadedModel, image: Image.Image, answer: str) -> float:
    logits, tokens = foretold(loaded, image, answer)
    return float(logits.gather(-1, tokens[:, None]).sum())


def test_scores_equal_those_of_one_pass_per_answer(loaded: LoadedModel) -> None:
    expected = [[log_likelihood(loaded, image, text) for text in ANSWERS.values()] for image in images()]
    for at_once in (8, 1):
        found = LabelScorer(loaded, ASKED, at_once).log_likelihoods(images())
        assert found.tolist() == [pytest.approx(row, abs=5e-4) for row in expected]


def test_an_answer_is_a_label_with_its_share(loaded: LoadedModel) -> None:
    scorer = LabelScorer(loaded, ASKED, 8)
    answers = scorer.answer(pictures())
    assert [answer.image_id for answer in answers] == ["0", "1", "2"]
    for answer in answers:
        assert answer.text == ANSWERS[str(answer.label)]
        assert 0 < float(answer.confidence or 0) <= 1
    assert answers[0].confidence == pytest.approx(scorer.answer(pictures()[:1])[0].confidence, abs=1e-3)


def test_an_answer_is_tokenized_with_its_prompt(loaded: LoadedModel) -> None:
    """A SentencePiece-like tokenizer begins every text with a token of its own; an answer must not get one."""
    joint = Tokenizer(models.BPE(unk_token="<unk>"))
    joint.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "</s>", "<s>", "<image>"])
    joint.train_from_iterator(["what is it? [/INST] a pool. this is a photo of a gym, I think. [INST] \n"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joint, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    render = loaded.processor.apply_chat_template
    other = LoadedModel(None, SimpleNamespace(tokenizer=tokenizer, apply_chat_template=render), "cpu")

    def ids(text: str) -> Any:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    answer = other.prompts.answer_tokens("what is it?", "a pool.")
    asked, told = other.prompts.prompt_text("what is it?"), other.prompts.dialogue_text("what is it?", "a pool.")
    assert ids(asked) + answer == ids(told)
    assert answer != ids(told.removeprefix(asked))


def greedy(loaded: LoadedModel, image: Image.Image, most: int) -> tuple[list[int], list[float]]:
    """Tokens and log-probabilities, one whole forward pass after the other."""
    ids = loaded.processor(
        text=loaded.prompts.prompt_text(DESCRIBE.prompt), images=image, return_tensors="pt", add_special_tokens=False
    )
    tokens: list[int] = []
    values: list[float] = []
    while len(tokens) < most and tokens[-1:] != [loaded.processor.tokenizer.eos_token_id]:
        more = torch.tensor([tokens], dtype=torch.long)
        whole = {**ids, "input_ids": torch.cat([ids["input_ids"], more], dim=1)}
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        with torch.inference_mode():
            value, token = loaded.model(**whole).logits[0, -1].log_softmax(dim=-1).max(dim=-1)
        tokens.append(int(token))
        values.append(float(value))
    return tokens, values


def test_a_caption_is_written_greedily_and_alike_in_any_batch(loaded: LoadedModel) -> None:
    found = Writer(loaded, DESCRIBE, 12).answer(pictures())
    for answer, image in zip(found, images(), strict=True):
        tokens, values = greedy(loaded, image, 12)
        assert answer.text == loaded.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert answer.confidence == pytest.approx(math.exp(sum(values) / len(values)), rel=1e-3)
        assert (answer.label, answer.score, answer.error) == (None, None, None)


def test_a_caption_ends_where_the_model_ends_it(loaded: LoadedModel) -> None:
    """The end counts as a token; what is padded after it, for longer captions of the batch, does not."""
    plain = Writer(loaded, DESCRIBE, 12)
    tokens = [greedy(loaded, image, 12)[0] for image in images()]
    end = next(token for token in tokens[0] if token not in tokens[1])
    at = tokens[0].index(end)
    plain._ends = [end]
    first, second, _ = plain.answer(pictures())
    values = greedy(loaded, images()[0], at + 1)[1]
    assert first.confidence == pytest.approx(math.exp(sum(values) / (at + 1)), rel=1e-3)
    assert first.text == loaded.processor.tokenizer.decode(tokens[0][: at + 1], skip_special_tokens=True).strip()
    assert second.text == loaded.processor.tokenizer.decode(tokens[1], skip_special_tokens=True).strip()


def test_a_held_answer_is_the_likeliest_path_among_those_allowed(loaded: LoadedModel) -> None:
    """One whole pass after the other, each over the tokens with which an answer goes on; one answer begins another."""
    question = dataclasses.replace(ASKED, answers={**ANSWERS, "photo": "this is a photo", "long": "a pool. And a spa."})
    paths = {label: loaded.prompts.answer_tokens(question.prompt, text) for label, text in question.answers.items()}
    for answer, image in zip(Writer(loaded, question, 3).answer(pictures()), images(), strict=True):
        said: list[int] = []
        probability = 1.0
        while said not in paths.values():
            allowed = sorted({path[len(said)] for path in paths.values() if path[: len(said)] == said})
            share = next_logits(loaded, image, said)[allowed].softmax(dim=-1).max(dim=-1)
            probability *= float(share.values)
            said.append(allowed[int(share.indices)])
        assert paths[str(answer.label)] == said
        assert answer.text == question.answers[str(answer.label)]
        assert (answer.confidence, answer.confidence_kind) == (pytest.approx(probability, rel=1e-3), PATH)


def next_logits(loaded: LoadedModel, image: Image.Image, said: list[int]) -> torch.Tensor:
    """Of the token after the prompt and these."""
    ids = loaded.processor(
        text=loaded.prompts.prompt_text(ASKED.prompt), images=image, return_tensors="pt", add_special_tokens=False
    )
    whole = {**ids, "input_ids": torch.cat([ids["input_ids"], torch.tensor([said], dtype=torch.long)], dim=1)}
    whole["attention_mask"] = torch.ones_like(whole["input_ids"])
    with torch.inference_mode():
        return torch.as_tensor(loaded.model(**whole).logits[0, -1])


def test_an_answer_is_told_to_the_letter(loaded: LoadedModel) -> None:
    """As it follows the prompt, without the end of the turn: what vLLM is held to."""
    assert loaded.prompts.answer_text("what is it?", "a pool.") == " a pool."


def test_a_caption_is_scored_as_trl_measures_it(loaded: LoadedModel) -> None:
    """Of references with other lengths, in one batch: the share of tokens, the end included, that come out on top."""
    own = Writer(loaded, DESCRIBE, 6).answer(pictures())[0].text  # so that not all shares are 0
    references = {**CAPTIONS, "0": str(own)}
    found = CaptionScorer(loaded, dataclasses.replace(DESCRIBE, references=references)).answer(pictures())
    shares = []
    for image, text in zip(images(), references.values(), strict=True):
        logits, tokens = foretold(loaded, image, text)
        assert tokens[-1] == loaded.processor.tokenizer.eos_token_id
        shares.append(float((logits.argmax(dim=-1) == tokens).float().mean()))
    assert [answer.score for answer in found] == pytest.approx(shares)
    assert [answer.text for answer in found] == list(references.values())
    assert max(shares) > 0


def test_the_question_chooses_the_engine(loaded: LoadedModel) -> None:
    engines = [type(generator_for(question, loaded, PredictSettings())) for question in (ASKED, DESCRIBE, KNOWN)]
    assert engines == [LabelScorer, Writer, CaptionScorer]
    assert isinstance(generator_for(ASKED, loaded, PredictSettings(label_method="greedy")), Writer)


def checkpoint(*tasks: str) -> Model:
    words = {
        "label": {"task": "label", "prompt": "which of {labels}?", "answer": "a {label}.", "weight": 1.0},
        "caption": {"task": "caption", "prompt": "describe", "answer": "It shows {caption}", "weight": 1.0},
    }
    labels = ["Terrace/Patio", "{labels}"] if "label" in tasks else []
    return Model("d1", "checkpoint", "m", 1, {}, {"tasks": [words[task] for task in tasks], "labels": labels}, {})


def test_a_model_is_asked_what_it_was_trained_for() -> None:
    both = checkpoint("caption", "label")
    asked = Question.of(both, Decoding())
    assert (asked.task, asked.prompt) == ("label", "which of Terrace/Patio, {labels}?")
    assert asked.answers == {"Terrace/Patio": "a Terrace/Patio.", "{labels}": "a {labels}."}
    assert Question.of(both, Decoding(task="caption")) == Question("caption", "describe")
    alone = checkpoint("caption")
    assert Question.of(alone, Decoding()) == Question("caption", "describe")
    assert (main_task(both), main_task(alone)) == ("label", "caption")
    assert reference(alone, "a {caption}") == "It shows a {caption}"


def test_another_prompt_is_for_the_predicted_task_only() -> None:
    settings = Decoding(task="caption", prompt="say more")
    assert Question.of(checkpoint("label", "caption"), settings).prompt == "say more"
    assert Question.of(checkpoint("label", "caption"), settings, "label").prompt.startswith("which of")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Decoding(task="label"), r"predict.task \(MM_PREDICT__TASK\) is label, and model d1 was trained on caption"),
        (Decoding(prompt="which of {labels}?"), r"predict.prompt \(MM_PREDICT__PROMPT\) uses {labels}"),
    ],
)
def test_what_a_model_never_learned_is_refused(settings: Decoding, says: str) -> None:
    with pytest.raises(RefusalError, match=says):
        Question.of(checkpoint("caption"), settings)


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
