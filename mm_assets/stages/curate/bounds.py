"""What the settings ask of scores: the named limits (`min_sharpness`, ...) and those by column (`limits`)."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mm_assets.scoring import Scorer
from mm_assets.settings import CurateSettings

# (reason that a row is given, score column, which end is bounded, setting)
_NAMED = (
    ("blurred", "sharpness", "min", "min_sharpness"),
    ("dark", "luminance", "min", "min_luminance"),
    ("bright", "luminance", "max", "max_luminance"),
    ("clipped", "clipped", "max", "max_clipped"),
    ("little to see", "entropy", "min", "min_entropy"),
)
_BEYOND: dict[str, Callable[[float, float], bool]] = {"min": operator.lt, "max": operator.gt}


@dataclass(frozen=True)
class Bound:
    """One end of the values that a score may have, and the setting that says so."""

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
    """The bounds that the settings give, named ones first."""
    owners = {column: scorer for scorer in scorers for column in scorer.columns}
    named = [(reason, column, end, setting, getattr(settings, setting)) for reason, column, end, setting in _NAMED]
    own = [
        ("limit", column, end, f"limits.{column}.{end}", getattr(limit, end))
        for column, limit in settings.limits.items()
        for end in _BEYOND
    ]
    return [
        Bound(owners[column], column, reason, setting, value, _BEYOND[end])
        for reason, column, end, setting, value in [*named, *own]
        if value is not None
    ]
