"""Answers by transformers: one small interface, and a generator for each kind of question."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from PIL import Image

from mm_assets.engines.answering.pictures import Picture
from mm_assets.engines.answering.questions import MEAN, PATH, SHARE, Answer, Question
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.settings import PredictSettings


class Generator(Protocol):
    """A generator answers one question about images."""

    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The answers, in order."""
        ...


def generator_for(question: Question, loaded: LoadedModel, settings: PredictSettings) -> Generator:
    """The generator for a question."""
    if question.references:
        return CaptionScorer(loaded, question)
    if question.answers and settings.label_method == "likelihood":
        return LabelScorer(loaded, question, settings.answers_at_once)
    return Writer(loaded, question, settings.max_new_tokens)


class LabelScorer:
    """Scores every allowed answer by its log-likelihood; prompt and image are computed once for all answers.

    Args:
        loaded: the model.
        question: with answers.
        answers_at_once: answers per image in one forward pass.
    """

    def __init__(self, loaded: LoadedModel, question: Question, answers_at_once: int) -> None:
        self._loaded, self._question, self._answers_at_once = loaded, question, answers_at_once
        self._labels = list(question.answers)
        self._prompt = loaded.prompts.prompt_text(question.prompt)
        rows = [loaded.prompts.answer_tokens(question.prompt, text) for text in question.answers.values()]
        length = max(map(len, rows))
        padded = [row + [0] * (length - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (length - len(row)) for row in rows]
        # Both of shape (labels, length): the answers' tokens, and a mask that is 0 for padding.
        self._tokens, self._known = (torch.tensor(values, device=loaded.device) for values in (padded, mask))

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The likeliest allowed answer of each image; its confidence is its share of all answers' likelihood."""
        shares = self.log_likelihoods([picture.image for picture in pictures]).softmax(dim=-1)
        best = shares.max(dim=-1)
        labels = [self._labels[index] for index in best.indices.tolist()]
        return [
            Answer(picture.image_id, label, self._question.answers[label], confidence, SHARE)
            for picture, label, confidence in zip(pictures, labels, best.values.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def log_likelihoods(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Shape (images, labels): natural log of each answer's likelihood."""
        inputs = self._loaded.inputs([self._prompt] * len(images), images)
        prompt = self._loaded.model(**inputs, use_cache=True, logits_to_keep=1)
        chunks = range(0, len(self._labels), self._answers_at_once)
        scores = [
            self._score(prompt, inputs["attention_mask"], slice(start, start + self._answers_at_once))
            for start in chunks
        ]
        return torch.cat(scores, dim=1)

    def _score(self, prompt: Any, prompt_mask: torch.Tensor, chosen: slice) -> torch.Tensor:  # noqa: ANN401  (a model output)
        """Log-likelihoods of some answers after a computed prompt; every answer gets a copy of its cache."""
        count, labels = len(prompt_mask), len(self._tokens[chosen])
        cache = copy.deepcopy(prompt.past_key_values)
        cache.batch_repeat_interleave(labels)
        tokens, mask = self._tokens[chosen].repeat(count, 1), self._known[chosen].repeat(count, 1)
        prompt_mask = prompt_mask.repeat_interleave(labels, dim=0)
        logits = self._loaded.model(
            input_ids=tokens,
            attention_mask=torch.cat([prompt_mask, mask], dim=1),
            position_ids=prompt_mask.sum(dim=1, keepdim=True) + torch.arange(tokens.shape[1], device=tokens.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        self._loaded.counted.output_tokens += int(mask.sum())
        first = prompt.logits[:, -1:].repeat_interleave(labels, dim=0)
        logits = torch.cat([first, logits[:, :-1]], dim=1).float()
        picked = logits.log_softmax(dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return (picked * mask).sum(dim=1).view(count, labels)


class Writer:
    """Writes an answer token by token, always the likeliest one; the same image gets the same words.

    Args:
        loaded: the model.
        question: gives the prompt. Where it has answers, the model can write only these.
        max_new_tokens: of free text.
    """

    def __init__(self, loaded: LoadedModel, question: Question, max_new_tokens: int) -> None:
        self._loaded, self._question = loaded, question
        prompts = loaded.prompts
        self._prompt = prompts.prompt_text(question.prompt)
        self._ends = prompts.ends(loaded.model.generation_config)
        self._paths = {label: prompts.answer_tokens(question.prompt, text) for label, text in question.answers.items()}
        self._max_new_tokens = max(map(len, self._paths.values()), default=max_new_tokens)

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The likeliest words, with a confidence from the probabilities of their tokens, the end included.

        For free text it is the geometric mean. For an allowed answer it is the product, where each probability counts
        only the tokens that continue an allowed answer. A worked example, answers "red" and "rose" of two tokens each:
        "r" is the only beginning, so its probability is 1. "ed" has 0.6 and "ose" 0.4: the answer is "red", with 0.6.
        """
        tokens, in_answer, picked = self._written(pictures)
        sums = (picked * in_answer).sum(dim=1)
        confidences = (sums if self._paths else sums / in_answer.sum(dim=1)).exp().tolist()
        rows = [row[mask].tolist() for row, mask in zip(tokens, in_answer.bool(), strict=True)]
        say = self._chosen if self._paths else self._text
        return [
            say(picture.image_id, row, confidence)
            for picture, row, confidence in zip(pictures, rows, confidences, strict=True)
        ]

    def _written(self, pictures: Sequence[Picture]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Three tensors of shape (images, tokens): the tokens, whether they belong to the answer, log-probabilities."""
        inputs = self._loaded.inputs([self._prompt] * len(pictures), [picture.image for picture in pictures])
        start = inputs["input_ids"].shape[1]
        generated = self._loaded.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._loaded.processor.tokenizer.pad_token_id,
            prefix_allowed_tokens_fn=(lambda _, row: self._allowed(row[start:].tolist())) if self._paths else None,
            return_dict_in_generate=True,
            output_scores=True,
        )
        tokens = generated.sequences[:, start:]
        ends = torch.isin(tokens, torch.tensor(self._ends, device=tokens.device)).int()
        mask = ends.cumsum(dim=1) - ends == 0  # up to the first end; what follows it is padding
        self._loaded.counted.output_tokens += int(mask.sum())
        steps = [scores.float().log_softmax(dim=-1) for scores in generated.scores]
        picked = torch.stack([step.gather(-1, tokens[:, [i]])[:, 0] for i, step in enumerate(steps)], dim=1)
        return tokens, mask, picked.masked_fill(~mask, 0.0)

    def _allowed(self, written: list[int]) -> list[int]:
        """The tokens that continue an allowed answer; the end tokens where an answer is complete."""
        after = {
            path[len(written)]
            for path in self._paths.values()
            if path[: len(written)] == written and path[len(written) :]
        }
        return sorted(after) or self._ends

    def _chosen(self, image_id: str, tokens: list[int], confidence: float) -> Answer:
        """The allowed answer whose tokens begin with these; a template may add tokens after the end of the turn."""
        label = next(label for label, path in self._paths.items() if path[: len(tokens)] == tokens)
        return Answer(image_id, label, self._question.answers[label], confidence, PATH)

    def _text(self, image_id: str, tokens: list[int], confidence: float) -> Answer:
        text = self._loaded.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return Answer(image_id, text=text, confidence=confidence, confidence_kind=MEAN)


class CaptionScorer:
    """Measures how well a model predicts the right answers: TRL's `mean_token_accuracy`, for each example.

    Args:
        loaded: the model.
        question: with references.
    """

    def __init__(self, loaded: LoadedModel, question: Question) -> None:
        self._loaded, self._question = loaded, question

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture]) -> list[Answer]:
        """The references as answers. The score is the share of a reference's tokens that the model ranks first."""
        prompt = self._question.prompt
        references = [self._question.references[picture.image_id] for picture in pictures]
        lengths = [len(self._loaded.prompts.answer_tokens(prompt, text)) for text in references]
        dialogues = [self._loaded.prompts.dialogue_text(prompt, text) for text in references]
        inputs = self._loaded.inputs(dialogues, [picture.image for picture in pictures])
        longest = max(lengths)
        logits = self._loaded.model(**inputs, use_cache=False, logits_to_keep=longest + 1).logits[:, :-1]
        right = (logits.argmax(dim=-1) == inputs["input_ids"][:, -longest:]).float()
        return [
            Answer(picture.image_id, text=text, score=float(row[-length:].mean()))
            for picture, text, row, length in zip(pictures, references, right, lengths, strict=True)
        ]
