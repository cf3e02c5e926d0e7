"""Bounds on scores: the least and greatest values that `curate.limits` allows."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mm_assets.scoring import Scorer
from mm_assets.settings import CurateSettings

_BEYOND: dict[str, Callable[[float, float], bool]] = {"min": operator.lt, "max": operator.gt}


@dataclass(frozen=True)
class Bound:
    """The least or the greatest value that a score may have.

    Args:
        scorer: the scorer of the column.
        column: the bounded column.
        reason: reason to leave out a row whose value is beyond the limit.
        setting: name of the setting that gives the limit.
        limit: the least or greatest value.
        beyond: whether a value (its first argument) is beyond a limit (its second).
    """

    scorer: Scorer
    column: str
    reason: str
    setting: str
    limit: float
    beyond: Callable[[float, float], bool]

    def fault(self, row: dict[str, Any]) -> str | None:
        """Why a row is left out by this bound, as `<reason>: <detail>`; None where it is not."""
        if row[self.scorer.error_column] is not None:
            return f"not scored: {self.scorer.name}, {row[self.scorer.error_column]}"
        if row[self.scorer.rev_column] is None:
            return f"not scored: {self.scorer.name}"
        value = row[self.column]
        if value is None or math.isnan(value):  # no comparison with NaN is true, so it would pass any bound
            return f"not scored: {self.column} is {'null' if value is None else 'no number'}"
        if self.beyond(value, self.limit):
            return f"{self.reason}: {self.column} {value:.4g}, {self.setting} is {self.limit:g}"
        return None


def bounds_of(settings: CurateSettings, scorers: Sequence[Scorer]) -> list[Bound]:
    """The bounds of the settings, in the order of the scorers and their columns.

    The order counts: a row gets the reason of the first bound that it breaks.
    """
    return [
        Bound(scorer, name, reason, f"limits.{name}.{end}", value, _BEYOND[end])
        for scorer in scorers
        for name, column in scorer.value_columns.items()
        if name in settings.limits
        for end, reason in (("min", column.low), ("max", column.high))
        if (value := getattr(settings.limits[name], end)) is not None
    ]
