"""Choose the images that become examples: a pure function from rows to rows, every image with its reason."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from mm_assets.curate.splits import TRAIN, split_of
from mm_assets.settings import CurateSettings

Row = dict[str, Any]

# (score column, scorer, words, setting, whether the value is too far from it)
_LIMITS = (
    ("sharpness", "sharpness", "blurred", "min_sharpness", lambda value, limit: value < limit),
    ("luminance", "exposure", "dark", "min_luminance", lambda value, limit: value < limit),
    ("luminance", "exposure", "bright", "max_luminance", lambda value, limit: value > limit),
    ("clipped", "exposure", "clipped", "max_clipped", lambda value, limit: value > limit),
    ("entropy", "entropy", "little to see", "min_entropy", lambda value, limit: value < limit),
)


@dataclass(frozen=True)
class Choice:
    """What becomes of one image: its split, or `left_out` with `<reason>: <detail>`."""

    row: Row
    split: str | None = None
    left_out: str | None = None


def choose(rows: Iterable[Row], settings: CurateSettings) -> list[Choice]:
    """Apply thresholds, near-duplicate groups and splits.

    Args:
        rows: in order of age, oldest first: `image_id`, `label`, `error`, the score columns with `<scorer>_rev` and
            `<scorer>_error`, `group_id`, `first_group_id`.
        settings: thresholds and labels.

    Returns:
        One choice per row, in the same order. Of each group the oldest image that nothing else speaks against is
        taken. A group with several labels is left out whole. Where a group's members were first seen in different
        splits, only those of the training split may be taken: the held-out side has been seen in training.
    """
    choices = [Choice(row, left_out=_fault(row, settings)) for row in rows]
    groups: dict[str, list[int]] = defaultdict(list)
    for position, choice in enumerate(choices):
        if choice.row["group_id"] is not None:
            groups[choice.row["group_id"]].append(position)
    for members in groups.values():
        labels = {choices[i].row["label"] for i in members} - {None}
        splits = {split_of(choices[i].row["first_group_id"]) for i in members}
        taken: str | None = None
        for i in members:
            if choices[i].left_out is None:
                choices[i], taken = _judge(choices[i], labels, splits, taken)
    return choices


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


def _fault(row: Row, settings: CurateSettings) -> str | None:
    if row["error"] is not None:
        return f"no image: {row['error']}"
    if row["label"] is None:
        return "no label: the file lies in no sub-folder"
    if settings.labels is not None and row["label"] not in settings.labels:
        return f"label not chosen: {row['label']}"
    for column, scorer, words, setting, beyond in _LIMITS:
        if row[f"{scorer}_error"] is not None:
            return f"not scored: {scorer}, {row[f'{scorer}_error']}"
        if row[f"{scorer}_rev"] is None:
            return f"not scored: {scorer}"
        value, limit = row[column], getattr(settings, setting)
        if value is None:
            return f"not scored: {column} is null"
        if beyond(value, limit):
            return f"{words}: {column} {value:.4g}, {setting} is {limit:g}"
    return None if row["group_id"] is not None else "not scored: near_duplicates"
