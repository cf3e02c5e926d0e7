"""What models are asked about images, and what they answer."""

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
    """A prompt, and what is wanted of its answer.

    Args:
        task: that the prompt belongs to.
        prompt: the user's words.
        answers: by label, the answers that the model may choose from; with none, it writes what it likes.
        references: by image id, the answers that would be right; with them, the model writes nothing: it is judged by
            how well it foretells them.
    """

    task: TaskName
    prompt: str
    answers: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, settings: Ask, task: TaskName | None = None, setting: str = PREDICT) -> Self:
        """What a checkpoint was trained to be asked and to answer.

        Args:
            model: the checkpoint.
            settings: `task` is what the predictions ask; `prompt` takes the place of that task's own.
            task: to ask for; that of the predictions where it is not given.
            setting: that `settings` are, for what is said where they are wrong.

        Raises:
            RefusalError: the model was not trained on that task, or knows no labels to put into the prompt.
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
    """The task that a checkpoint is known by: the label where that was trained, else the caption."""
    trained = {item["task"] for item in model.recipe["tasks"]}
    tasks: tuple[TaskName, ...] = get_args(TaskName)
    return next(task for task in tasks if task in trained)


def reference(model: Model, caption: str) -> str:
    """What a checkpoint should answer about an image with this caption."""
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
    """A field of a setting by its names, in the profile and in the environment (there lists are one variable)."""
    variable = f"MM_{setting}" if "." in setting else f"MM_{setting}__{field}"
    return f"{setting}.{field} ({variable.upper().replace('.', '__')})"


# What a confidence is. Of a label: its answer's share of all allowed answers' likelihood,
SHARE = "label_share"
# or the product of its tokens' probabilities, each among the tokens with which one of the answers goes on.
PATH = "path_probability"
# Of free text: the geometric mean of its tokens' probabilities.
MEAN = "mean_token_probability"


@dataclass(frozen=True)
class Answer:
    """What a model answered about one image; where it could not, `error` says why and the rest is None.

    Args:
        image_id: of the image.
        label: that was chosen; None for free text.
        text: the answer.
        confidence: how sure the model is; what it measures is
        confidence_kind: `SHARE`, `PATH` or `MEAN`. The three are not comparable.
        score: where the right answer was given, the share of its tokens that the model foretells.
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
    """The answers to a piece of work, in the order of its rows, and what its workers have done so far."""

    answers: list[Answer]
    usages: Sequence[Usage]
