"""The questions to a model about each image, and the digest that identifies a question."""

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
        question: the question with its words.
        digest: digest of the model's files.
        prompt_digest: digest of the words, the allowed answers, the engine and its method; see `prompt_digest`.
    """

    question: Question
    digest: str
    prompt_digest: str

    @property
    def names(self) -> dict[str, str]:
        """The parts of a prediction's key, besides the image."""
        return {"digest": self.digest, "prompt_digest": self.prompt_digest}


def questions(model: Model, settings: PredictSettings) -> list[PosedQuestion]:
    """The questions of the predictions to a model, the chief one first.

    Raises:
        RefusalError: the model was not trained on the task of a question, or two questions are the same.
    """
    more = [Question.of(model, ask, setting="predict.also") for ask in settings.also]
    all_questions = [Question.of(model, settings), *more]
    posed = [PosedQuestion(question, model.digest, prompt_digest(question, settings)) for question in all_questions]
    if len({one.prompt_digest for one in posed}) < len(posed):
        raise RefusalError("predict.also (MM_PREDICT__ALSO) asks what is asked already: give another task or prompt")
    return posed


def prompt_digest(question: Question, settings: PredictSettings) -> str:
    """Digest of all that decides an answer besides the model and the image, as 16 hex digits."""
    text = json.dumps([question.prompt, dict(question.answers), _how(question, settings), settings.precision])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _how(question: Question, settings: PredictSettings) -> Sequence[Any]:
    if question.answers:
        return [settings.engine, settings.label_method]
    sampling = settings.sampling.model_dump() if settings.sampling.temperature else settings.sampling.repetition_penalty
    return [settings.engine, sampling, f"at most {settings.max_new_tokens} tokens"]
