"""The words of an example, and its pre-flight; equal words are made and counted once."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mm_assets.chat import Message, assistant_message, fault, fill, user_message
from mm_assets.engines.models.processors import TokenCounter
from mm_assets.settings import CurateSettings, TaskName
from mm_assets.stages.curate.selection import Choice, Row

PRE_FLIGHT = "pre-flight"
# Chats that are kept for reuse. Labels repeat, captions hardly ever do.
REMEMBERED = 10_000


class Wording:
    """Makes rows of `sft.lance`.

    Args:
        settings: tasks and the longest example.
        labels: what `{labels}` stands for.
        counter: counts tokens as the base model does.
    """

    def __init__(self, settings: CurateSettings, labels: Sequence[str], counter: TokenCounter) -> None:
        self._tasks = {task.task: task for task in settings.tasks}
        self._max_tokens = settings.max_tokens
        self._labels, self._counter = labels, counter
        self._chat = lru_cache(REMEMBERED)(self._make_chat)

    def example(self, choice: Choice) -> Row:
        """The row of one image in one task: an example, or why it is none."""
        row, task = choice.row, choice.task
        example: dict[str, Any] = {
            "example_id": choice.example_id,
            "task": task.task,
            "images": [{"image_id": row["image_id"], "sha256": row["sha256"]}],
            "label": row["label"],
            "caption": row["caption"],
            "group_id": row["group_id"],
            "left_out": choice.left_out,
            "split": None,
        }
        if choice.split is None:
            return example
        messages, wrong, text_tokens = self._chat(task.task, row[task.task])
        if wrong:
            return example | {"left_out": f"{PRE_FLIGHT}: {wrong}"}
        tokens = text_tokens + self._counter.beyond_placeholder(row["width"], row["height"])
        if tokens > self._max_tokens:
            return example | {"left_out": f"{PRE_FLIGHT}: {tokens} tokens, max_tokens is {self._max_tokens}"}
        return example | {"messages": messages, "split": choice.split, "num_tokens": tokens}

    def _make_chat(self, name: TaskName, value: str) -> tuple[list[Message], str | None, int]:
        """Messages about one image, what is wrong with them, and their tokens with one placeholder for the image."""
        task = self._tasks[name]
        answer = fill(task.answer, self._labels, **{name: value})
        messages = [user_message(fill(task.prompt, self._labels)), assistant_message(answer)]
        wrong = fault(messages, 1, self._counter.special_tokens)
        return messages, wrong, 0 if wrong else self._counter.text_tokens(messages)


def reads_labels(settings: CurateSettings) -> bool:
    """Whether the words of any example depend on which labels there are."""
    return any("{labels}" in text for task in settings.tasks for text in (task.prompt, task.answer))
