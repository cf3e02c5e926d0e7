"""Label scoring, caption writing and caption scoring against plain forward passes."""

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from mm_assets.engines.answering.questions import PATH
from mm_assets.engines.answering.transformers.generators import CaptionScorer, LabelScorer, Writer, generator_for
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.settings import PredictSettings
from mm_assets_tests.kit.questions import ANSWERS, ASKED, CAPTIONS, DESCRIBE, KNOWN, images, pictures


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
