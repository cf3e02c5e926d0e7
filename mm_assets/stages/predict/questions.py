"""What a model is asked about each image, and the digest by which answers to it are known."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mm_assets.engines.answering.questions import Question
from mm_assets.engines.models.registry import Model
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import PredictSettings


@dataclass(frozen=True)
class PosedQuestion:
    """A question to a model.

    Args:
        question: the words.
        digest: of the model's files.
        prompt_digest: of the words, the allowed answers, the engine and how it chooses: see `prompt_digest`.
    """

    question: Question
    digest: str
    prompt_digest: str

    @property
    def names(self) -> dict[str, str]:
        """What a prediction's key is made of, besides the image."""
        return {"digest": self.digest, "prompt_digest": self.prompt_digest}


def questions(model: Model, settings: PredictSettings) -> list[PosedQuestion]:
    """What the predictions ask a model, the chief question first.

    Raises:
        RefusalError: the model was not trained on a task that is asked for, or one question is asked twice.
    """
    more = [Question.of(model, ask, setting="predict.also") for ask in settings.also]
    all_questions = [Question.of(model, settings), *more]
    posed = [PosedQuestion(question, model.digest, prompt_digest(question, settings)) for question in all_questions]
    if len({one.prompt_digest for one in posed}) < len(posed):
        raise RefusalError("predict.also (MM_PREDICT__ALSO) asks what is asked already: give another task or prompt")
    return posed


def prompt_digest(question: Question, settings: PredictSettings) -> str:
    """Digest of all that decides on an answer besides model and image, as 16 hex digits."""
    text = json.dumps([question.prompt, dict(question.answers), _how(question, settings), settings.precision])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _how(question: Question, settings: PredictSettings) -> Sequence[Any]:
    if question.answers:
        return [settings.engine, settings.label_method]
    sampling = settings.sampling.model_dump() if settings.sampling.temperature else settings.sampling.repetition_penalty
    return [settings.engine, sampling, f"at most {settings.max_new_tokens} tokens"]
