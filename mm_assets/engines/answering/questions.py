"""Questions to models about images, and the models' answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, get_args

from mm_assets.chat import fill
from mm_assets.engines.answering.usage import Usage
from mm_assets.engines.models.registry import Model
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import PREDICT, Ask, TaskName


@dataclass(frozen=True)
class Question:
    """A prompt, and the kind of answer that is wanted.

    Args:
        task: of the prompt.
        prompt: the user's words.
        answers: by label, the answers that the model may choose from. Empty: the model writes free text.
        references: by image id, the right answers. With them, the model writes nothing: it is scored by how well it
            predicts their tokens.
    """

    task: TaskName
    prompt: str
    answers: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, settings: Ask, task: TaskName | None = None, setting: str = PREDICT) -> Self:
        """The question that a checkpoint was trained to answer.

        Args:
            model: the checkpoint.
            settings: `task` of the predictions; `prompt` replaces that task's own prompt.
            task: of the question; None: the task of the predictions.
            setting: the name of `settings` in error messages.

        Raises:
            RefusalError: the model was not trained on that task, or has no labels to put into the prompt.
        """
        predicted = settings.task or main_task(model)
        chosen = task or predicted
        words, labels = _words(model, chosen, setting), model.recipe["labels"]
        prompt = settings.prompt if settings.prompt and chosen == predicted else words["prompt"]
        if "{labels}" in prompt and not labels:
            raise RefusalError(
                f"{_named(setting, 'prompt')} uses {{labels}}, and model {model.digest} was trained on "
                "captions alone: take it out of the prompt"
            )
        answers = {label: fill(words["answer"], labels, label=label) for label in labels} if chosen == "label" else {}
        return cls(chosen, fill(prompt, labels), answers)


def main_task(model: Model) -> TaskName:
    """The main task of a checkpoint: the label where it was trained, else the caption."""
    trained = {item["task"] for item in model.recipe["tasks"]}
    tasks: tuple[TaskName, ...] = get_args(TaskName)
    return next(task for task in tasks if task in trained)


def reference(model: Model, caption: str) -> str:
    """The right answer of a checkpoint about an image with this caption."""
    return fill(_words(model, "caption", PREDICT)["answer"], caption=caption)


def _words(model: Model, task: TaskName, setting: str) -> dict[str, Any]:
    trained = {item["task"]: item for item in model.recipe["tasks"]}
    if task not in trained:
        raise RefusalError(
            f"{_named(setting, 'task')} is {task}, and model {model.digest} was trained on {', '.join(trained)} "
            "alone: set it to that, or train on both (MM_CURATE__TASKS)"
        )
    return dict(trained[task])


def _named(setting: str, field: str) -> str:
    """The names of a setting's field in the profile and in the environment, where a list is one variable."""
    variable = f"MM_{setting}" if "." in setting else f"MM_{setting}__{field}"
    return f"{setting}.{field} ({variable.upper().replace('.', '__')})"


# The kinds of confidence. For a label: its answer's share of the likelihood of all allowed answers.
SHARE = "label_share"
# For a label: the product of its tokens' probabilities, each among the tokens that continue an allowed answer.
PATH = "path_probability"
# For free text: the geometric mean of its tokens' probabilities.
MEAN = "mean_token_probability"


@dataclass(frozen=True)
class Answer:
    """A model's answer about one image. Where it failed, `error` says why and the rest is None.

    Args:
        image_id: of the image.
        label: that the model chose; None for free text.
        text: the answer.
        confidence: how sure the model is, 0 to 1.
        confidence_kind: `SHARE`, `PATH` or `MEAN`. Confidences of different kinds are not comparable.
        score: for a question with references, the share of the reference's tokens that the model predicts.
        error: `<class>: <message>`.
    """

    image_id: str
    label: str | None = None
    text: str | None = None
    confidence: float | None = None
    confidence_kind: str | None = None
    score: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Part:
    """The answers to a piece of work, in the order of its rows, with the usage of all workers so far."""

    answers: list[Answer]
    usages: Sequence[Usage]
