"""What a model is asked: what it was trained for, and what the settings make of that."""

import pytest

from mm_assets.engines.answering.questions import Question, main_task, reference
from mm_assets.engines.models.registry import Model
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import Decoding


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
