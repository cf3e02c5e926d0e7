"""Answers held to the labels: one small interface, and its first engine, log-likelihoods by transformers."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from mm_assets.chat import assistant_message, fill, user_message
from mm_assets.engines.lance_images import LanceImages
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.model_store import Model
from mm_assets.engines.processors import load_processor
from mm_assets.engines.ray_tasks import Cluster, Progress
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PredictSettings

# A batch of this size in which every image fails speaks against the engine.
SUSPICIOUS = 4


@dataclass(frozen=True)
class Question:
    """A prompt and the answers that it may get, label by label."""

    prompt: str
    answers: dict[str, str]

    @classmethod
    def of(cls, model: Model, prompt: str | None = None) -> Self:
        """What a checkpoint was trained to be asked and to answer; another prompt can take the place of its own."""
        labels, recipe = model.recipe["labels"], model.recipe
        answers = {label: fill(recipe["answer"], labels, label) for label in labels}
        return cls(fill(prompt or recipe["prompt"], labels), answers)


@dataclass(frozen=True)
class Answer:
    """The likeliest answer to a question about one image; `confidence` is its share of all answers' likelihood.

    Where the image could not be answered, `error` says why and the rest is None.
    """

    image_id: str
    label: str | None = None
    text: str | None = None
    confidence: float | None = None
    error: str | None = None


class Generator(Protocol):
    """An engine that answers a question about images."""

    def answer(self, images: Sequence[Image.Image]) -> list[tuple[str, float]]:
        """Label and confidence of each image, in order."""
        ...


class LabelScorer:
    """Scores every allowed answer by its log-likelihood; the prompt and the image are computed once for all answers.

    Args:
        model_dir: folder of the merged weights and the processor.
        question: prompt and answers.
        settings: precision, device and threads.
    """

    def __init__(self, model_dir: Path, question: Question, settings: PredictSettings) -> None:
        torch.set_num_threads(settings.threads)
        self._device = "cuda" if settings.use_gpu else "cpu"
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        self._processor = load_processor(model_dir)
        self._processor.tokenizer.padding_side = "left"
        model = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=dtype, local_files_only=True)
        self._model = model.to(self._device).eval()
        self._labels = list(question.answers)
        self._answers_at_once = settings.answers_at_once
        self._prompt, self._tokens, self._known = self._prepare(question)

    def _prepare(self, question: Question) -> tuple[str, torch.Tensor, torch.Tensor]:
        """The prompt as the template renders it, the answers' tokens (labels, length), and which are no padding.

        Prompt and answer are tokenized together, as training saw them: a SentencePiece tokenizer would begin an answer
        that stands alone with another token.

        Raises:
            ValueError: the chat template or the tokenizer changes the prompt when an answer follows.
        """
        asked = self._processor.apply_chat_template([user_message(question.prompt)], tokenize=False)
        prompt = self._ids(asked)
        rows = []
        for text in question.answers.values():
            told = [user_message(question.prompt), assistant_message(text)]
            whole = self._ids(self._processor.apply_chat_template(told, tokenize=False))
            if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
                raise ValueError(
                    f"the prompt's tokens change when the answer {text!r} follows: labels cannot be scored"
                )
            rows.append(whole[len(prompt) :])
        length = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=self._device)
        known = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=self._device)
        return asked, tokens, known

    def _ids(self, text: str) -> list[int]:
        return list(self._processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def answer(self, images: Sequence[Image.Image]) -> list[tuple[str, float]]:
        """Label and confidence of each image, in order."""
        shares = self._log_likelihoods(images).softmax(dim=-1)
        best = shares.max(dim=-1)
        return [
            (self._labels[index], float(share))
            for index, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _log_likelihoods(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Shape (images, labels): natural log of each answer's likelihood."""
        inputs = self._processor(
            text=[self._prompt] * len(images),
            images=list(images),
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        ).to(self._device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        # Positions count from the first real token of each row; left to itself, the model counts the padding too.
        places = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        prompt = self._model(**inputs, position_ids=places, use_cache=True, logits_to_keep=1)
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
        logits = self._model(
            input_ids=tokens,
            attention_mask=torch.cat([seen, known], dim=1),
            position_ids=seen.sum(dim=1, keepdim=True) + torch.arange(tokens.shape[1], device=self._device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        first = prompt.logits[:, -1:].repeat_interleave(labels, dim=0)
        logits = torch.cat([first, logits[:, :-1]], dim=1).float()
        picked = logits.log_softmax(dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return (picked * known).sum(dim=1).view(count, labels)


class Answerer:
    """Reads images by id and has them answered; runs as a Ray actor. One bad image costs one row, not a batch."""

    def __init__(
        self, tables: LakeTables, images: LanceRef, model_dir: Path, question: Question, settings: PredictSettings
    ) -> None:
        self._images = LanceImages(tables, images)
        self._question = question
        self._generator: Generator = LabelScorer(model_dir, question, settings)

    def __call__(self, image_ids: list[str]) -> list[Answer]:
        """An answer, or an error, for each image.

        Raises:
            RuntimeError: no image of a whole batch could be answered, so it is not the images' fault.
        """
        answers = self._halving(image_ids)
        if len(answers) >= SUSPICIOUS and all(answer.error for answer in answers):
            raise RuntimeError(f"none of {len(answers)} images could be answered: {answers[0].error}")
        return answers

    def _halving(self, image_ids: list[str]) -> list[Answer]:
        try:
            return self._answers(image_ids)
        except Exception as error:  # noqa: BLE001  (whatever one row does becomes that row's error)
            reason = f"{type(error).__name__}: {error}"
        # Outside of the except block: there the traceback would keep the failed batch's tensors in memory.
        if len(image_ids) == 1:
            return [Answer(image_ids[0], error=reason)]
        half = len(image_ids) // 2
        return [*self._halving(image_ids[:half]), *self._halving(image_ids[half:])]

    def _answers(self, image_ids: list[str]) -> list[Answer]:
        found = self._generator.answer(self._images.read(image_ids))
        return [
            Answer(image_id, label, self._question.answers[label], confidence)
            for image_id, (label, confidence) in zip(image_ids, found, strict=True)
        ]


@dataclass(frozen=True)
class AnswerJob:
    """Everything that answering images takes but the images."""

    tables: LakeTables
    cluster: Cluster
    images: LanceRef
    model_dir: Path
    question: Question
    settings: PredictSettings

    def run(self, batches: Sequence[Sequence[str]], progress: Progress) -> Iterator[list[Answer]]:
        """Answer batches of image ids with one pool of actors; gives the answers of each batch, all in order."""
        size = self.settings.batch_size
        parts = [[list(batch[start : start + size]) for start in range(0, len(batch), size)] for batch in batches]
        results = self.cluster.map_batches(
            Answerer,
            (self.tables, self.images, self.model_dir, self.question, self.settings),
            parts,
            lambda answers: progress.add(len(answers)),
            actors=self.settings.actors,
            num_cpus=self.settings.threads,
            num_gpus=1 if self.settings.use_gpu else 0,
        )
        for answers in results:
            yield [answer for part in answers for answer in part]
