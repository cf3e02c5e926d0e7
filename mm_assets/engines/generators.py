"""Answers by transformers: one small interface, and an engine for each kind of question."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image

from mm_assets.engines.loaded_model import LoadedModel
from mm_assets.engines.questions import Answer, Question
from mm_assets.settings import PredictSettings


@dataclass(frozen=True)
class Picture:
    """An image that a question is asked about, and the id that its answer is known by."""

    image_id: str
    image: Image.Image


class Generator(Protocol):
    """An engine that answers a question about images."""

    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The answers, in order."""
        ...


def generator_for(question: Question, loaded: LoadedModel, settings: PredictSettings) -> Generator:
    """The engine that a question needs."""
    if question.references:
        return CaptionScorer(loaded, question)
    if question.answers:
        return LabelScorer(loaded, question, settings.answers_at_once)
    return CaptionWriter(loaded, question, settings.max_new_tokens)


class LabelScorer:
    """Scores every allowed answer by its log-likelihood; the prompt and the image are computed once for all answers.

    Args:
        loaded: the model.
        question: with answers.
        answers_at_once: answers per image in one forward pass.
    """

    def __init__(self, loaded: LoadedModel, question: Question, answers_at_once: int) -> None:
        self._loaded, self._question, self._answers_at_once = loaded, question, answers_at_once
        self._labels = list(question.answers)
        self._prompt = loaded.asked(question.prompt)
        rows = [loaded.answer_tokens(question.prompt, text) for text in question.answers.values()]
        length = max(map(len, rows))
        padded = [row + [0] * (length - len(row)) for row in rows]
        known = [[1] * len(row) + [0] * (length - len(row)) for row in rows]
        # Of shape (labels, length): the answers' tokens, and which are no padding.
        self._tokens, self._known = (torch.tensor(values, device=loaded.device) for values in (padded, known))

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The likeliest of the allowed answers; the confidence is its share of all answers' likelihood."""
        shares = self.log_likelihoods([picture.image for picture in pictures]).softmax(dim=-1)
        best = shares.max(dim=-1)
        labels = [self._labels[index] for index in best.indices.tolist()]
        return [
            Answer(picture.image_id, label, self._question.answers[label], confidence)
            for picture, label, confidence in zip(pictures, labels, best.values.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def log_likelihoods(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Shape (images, labels): natural log of each answer's likelihood."""
        inputs = self._loaded.inputs([self._prompt] * len(images), images)
        prompt = self._loaded.model(**inputs, use_cache=True, logits_to_keep=1)
        chunks = range(0, len(self._labels), self._answers_at_once)
        found = [
            self._score(prompt, inputs["attention_mask"], slice(start, start + self._answers_at_once))
            for start in chunks
        ]
        return torch.cat(found, dim=1)

    def _score(self, prompt: Any, seen: torch.Tensor, chosen: slice) -> torch.Tensor:  # noqa: ANN401  (a model output)
        """Log-likelihoods of some answers after a prompt that is computed; every answer gets a copy of its cache."""
        count, labels = len(seen), len(self._tokens[chosen])
        cache = copy.deepcopy(prompt.past_key_values)
        cache.batch_repeat_interleave(labels)
        tokens, known = self._tokens[chosen].repeat(count, 1), self._known[chosen].repeat(count, 1)
        seen = seen.repeat_interleave(labels, dim=0)
        logits = self._loaded.model(
            input_ids=tokens,
            attention_mask=torch.cat([seen, known], dim=1),
            position_ids=seen.sum(dim=1, keepdim=True) + torch.arange(tokens.shape[1], device=tokens.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        first = prompt.logits[:, -1:].repeat_interleave(labels, dim=0)
        logits = torch.cat([first, logits[:, :-1]], dim=1).float()
        picked = logits.log_softmax(dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return (picked * known).sum(dim=1).view(count, labels)


class CaptionWriter:
    """Writes an answer token by token, always the likeliest; the same image gets the same words.

    Args:
        loaded: the model.
        question: its prompt.
        max_new_tokens: longest answer, in tokens.
    """

    def __init__(self, loaded: LoadedModel, question: Question, max_new_tokens: int) -> None:
        self._loaded, self._max_new_tokens = loaded, max_new_tokens
        self._prompt = loaded.asked(question.prompt)
        # Training teaches the tokenizer's end; a model may know others, such as that of a chat's turn.
        own, taught = loaded.model.generation_config.eos_token_id, loaded.processor.tokenizer.eos_token_id
        self._ends = sorted({*(own if isinstance(own, list) else [own]), taught} - {None})

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """Free text; the confidence is the geometric mean of its tokens' probabilities, the end included."""
        inputs = self._loaded.inputs([self._prompt] * len(pictures), [picture.image for picture in pictures])
        tokenizer = self._loaded.processor.tokenizer
        made = self._loaded.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = made.sequences[:, inputs["input_ids"].shape[1] :]
        ends = torch.isin(tokens, torch.tensor(self._ends, device=tokens.device)).int()
        known = ends.cumsum(dim=1) - ends == 0  # up to the first end; what follows it is padding
        steps = [logits.float().log_softmax(dim=-1) for logits in made.logits]
        picked = torch.stack([step.gather(-1, tokens[:, [i]])[:, 0] for i, step in enumerate(steps)], dim=1)
        confidences = ((picked * known).sum(dim=1) / known.sum(dim=1)).exp()
        texts = [tokenizer.decode(row[mask], skip_special_tokens=True) for row, mask in zip(tokens, known, strict=True)]
        return [
            Answer(picture.image_id, text=text.strip(), confidence=confidence)
            for picture, text, confidence in zip(pictures, texts, confidences.tolist(), strict=True)
        ]


class CaptionScorer:
    """Measures how well a model foretells the right answers: TRL's `mean_token_accuracy`, example by example.

    Args:
        loaded: the model.
        question: with references.
    """

    def __init__(self, loaded: LoadedModel, question: Question) -> None:
        self._loaded, self._question = loaded, question

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The references, each with the share of its tokens that are the model's likeliest after those before them."""
        prompt = self._question.prompt
        references = [self._question.references[picture.image_id] for picture in pictures]
        lengths = [len(self._loaded.answer_tokens(prompt, text)) for text in references]
        told = [self._loaded.told(prompt, text) for text in references]
        inputs = self._loaded.inputs(told, [picture.image for picture in pictures])
        longest = max(lengths)
        logits = self._loaded.model(**inputs, use_cache=False, logits_to_keep=longest + 1).logits[:, :-1]
        right = (logits.argmax(dim=-1) == inputs["input_ids"][:, -longest:]).float()
        return [
            Answer(picture.image_id, text=text, score=float(row[-length:].mean()))
            for picture, text, row, length in zip(pictures, references, right, lengths, strict=True)
        ]
