"""Choose the images that become examples: a pure function that gives each image a split or a reason."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mm_assets.settings import CurateSettings, TaskName, TaskSettings
from mm_assets.splits import TRAIN, place_of, split_of
from mm_assets.stages.curate.bounds import Bound

Row = dict[str, Any]

# Reasons that do not count for a class: the image was rejected, or its label is not one to learn.
NO_IMAGE, NOT_CHOSEN = "no image", "label not chosen"

_MISSING: dict[TaskName, str] = {
    "label": "no label: neither a sub-folder nor a manifest names one",
    "caption": "no caption: no manifest gives one",
}


@dataclass(frozen=True)
class Choice:
    """The decision on one image in one task: its split, or `left_out` with `<reason>: <detail>`."""

    row: Row
    task: TaskSettings
    split: str | None = None
    left_out: str | None = None

    @property
    def example_id(self) -> str:
        """Key of the example: an image gives one for each task."""
        return f"{self.task.task}:{self.row['image_id']}"


def choose(rows: Sequence[Row], settings: CurateSettings, bounds: Sequence[Bound]) -> list[Choice]:
    """Apply bounds, near-duplicate groups, splits and weights, for each task as if it were the only one.

    The oldest usable image of each group is taken. For the task `label`, a group with several labels is left out whole.
    Where members of a group were first seen in different splits, only those of the training split may be taken: the
    model has seen near-duplicates of the others in training.

    Args:
        rows: in order of age, oldest first: `image_id`, `label`, `caption`, `error`, the bounded scores with
            `<scorer>_rev` and `<scorer>_error`, `group_id`, `first_group_id`.
        settings: tasks and labels.
        bounds: see `bounds_of`.

    Returns:
        One choice per task and row, in the same order.
    """
    greatest = max(task.weight for task in settings.tasks)
    choices = []
    for task in settings.tasks:
        usable = [Choice(row, task, left_out=_fault(row, task, settings, bounds)) for row in rows]
        choices += [_weighed(choice, greatest) for choice in _one_per_group(usable, task)]
    return choices


def _fault(row: Row, task: TaskSettings, settings: CurateSettings, bounds: Sequence[Bound]) -> str | None:
    """Why an image cannot be used, whatever the other images are; None where it can."""
    if row["error"] is not None:
        return f"{NO_IMAGE}: {row['error']}"
    if not (row[task.task] or "").strip():
        return _MISSING[task.task]
    if task.task == "label" and settings.labels is not None and row["label"] not in settings.labels:
        return f"{NOT_CHOSEN}: {row['label']}"
    beyond = next(filter(None, (bound.fault(row) for bound in bounds)), None)
    return beyond or (None if row["group_id"] is not None else "not scored: near_duplicates")


def _one_per_group(choices: list[Choice], task: TaskSettings) -> list[Choice]:
    """Give the oldest usable image of each near-duplicate group its split, and the others their reasons."""
    ordered = list(choices)
    groups: dict[str, list[int]] = defaultdict(list)
    for position, choice in enumerate(choices):
        if choice.row["group_id"] is not None:
            groups[choice.row["group_id"]].append(position)
    for members in groups.values():
        labels = {ordered[i].row["label"] for i in members} - {None} if task.task == "label" else set()
        splits = {split_of(ordered[i].row["first_group_id"]) for i in members}
        taken: str | None = None
        for i in members:
            if ordered[i].left_out is None:
                ordered[i], taken = _judge(ordered[i], labels, splits, taken)
    return ordered


def _judge(choice: Choice, labels: set[str], splits: set[str], taken: str | None) -> tuple[Choice, str | None]:
    row = choice.row
    split = split_of(row["first_group_id"])
    if len(labels) > 1:
        return replace(choice, left_out=f"conflicting labels: {', '.join(sorted(labels))}"), taken
    if len(splits) > 1 and split != TRAIN:
        return replace(choice, left_out=f"seen in another split: {row['group_id']}"), taken
    if taken is not None:
        return replace(choice, left_out=f"near-duplicate: of {taken}"), taken
    return replace(choice, split=split), row["image_id"]


def _weighed(choice: Choice, greatest: float) -> Choice:
    """Leave out a training example beyond its task's share.

    A hash of the example decides, so the decision stays the same as the table grows.
    """
    task = choice.task
    if choice.split != TRAIN or place_of(choice.example_id) < task.weight / greatest:
        return choice
    return replace(choice, split=None, left_out=f"weight: {task.task} has {task.weight:g} of {greatest:g}")
