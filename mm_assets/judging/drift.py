"""How far a distribution has moved: the population stability index (PSI).

PSI = sum over bins of (now - then) * ln(now / then), where now and then are the shares of rows in a bin. An index below
0.1 is no shift, 0.1 to 0.25 a moderate one, above 0.25 a large one; Siddiqi, "Credit Risk Scorecards", 2006, chapter
10. Half a row is added to each bin, so that an empty bin has a logarithm. Where n rows then and m rows now come from
one distribution, PSI / (1/n + 1/m) is chi-square with bins - 1 degrees of freedom; Yurdakul and Naranjo, "Statistical
properties of the population stability index", Journal of Risk Model Validation, 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm_assets.judging.verdicts import Verdict, limit, not_known

SETTING = "checks.max_drift"
BINS = 10
# The bin of null and NaN.
NO_VALUE = "no value"
# The 95th percentile of the normal distribution.
Z = 1.6449


@dataclass(frozen=True)
class Shift:
    """A distribution then and now.

    Args:
        bins: names of the bins.
        then: number of rows in each bin, then.
        now: number of rows in each bin, now.
    """

    bins: Sequence[str]
    then: np.ndarray
    now: np.ndarray

    @property
    def index(self) -> float:
        """The population stability index."""
        then, now = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (self.then, self.now))
        return float(((now - then) * np.log(now / then)).sum())

    @property
    def by_chance(self) -> float:
        """The index that 1 of 20 pairs of samples of this size exceeds although nothing moved.

        Wilson and Hilferty's approximation of the quantile of chi-square, 1931.
        """
        free = len(self.bins) - 1
        if free < 1 or not self.has_values:
            return 0.0
        quantile = free * (1 - 2 / (9 * free) + Z * np.sqrt(2 / (9 * free))) ** 3
        return float(quantile * (1 / self.then.sum() + 1 / self.now.sum()))

    @property
    def has_values(self) -> bool:
        """Whether there are rows on both sides, and one of them has a value."""
        return bool(self.then.sum() and self.now.sum()) and list(self.bins) != [NO_VALUE]

    def rows(self) -> list[dict[str, object]]:
        """The bins as a table."""
        return [
            {"bin": name, "then": int(then), "now": int(now)}
            for name, then, now in zip(self.bins, self.then, self.now, strict=True)
        ]


def of_numbers(then: np.ndarray, now: np.ndarray) -> Shift:
    """The shift of numbers, in bins that hold a tenth of `then` each.

    A value that would fill several bins has a bin of its own. So have missing and infinite values.
    """
    finite = then[np.isfinite(then)]
    edges = _edges(finite if len(finite) else now[np.isfinite(now)])
    names = [f"from {edge:.4g}" for edge in edges]
    counts = [np.append(_binned(values, edges), (~np.isfinite(values)).sum()) for values in (then, now)]
    return _without_empty([*([f"below {edges[0]:.4g}"] if len(edges) else ["all"]), *names, NO_VALUE], *counts)


def of_labels(then: Mapping[str, int], now: Mapping[str, int]) -> Shift:
    """The shift of counts by label, one bin for each label."""
    labels = sorted({*then, *now})
    return Shift(labels, *(np.array([counts.get(label, 0) for label in labels]) for counts in (then, now)))


def _edges(values: np.ndarray) -> np.ndarray:
    """Inner edges of the bins, rising; a bin reaches from its edge to just below the next."""
    if not len(values):
        return np.array([])
    edges, times = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]), return_counts=True)
    return np.union1d(edges, np.nextafter(edges[times > 1], np.inf))


def _binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    return np.bincount(np.searchsorted(edges, finite, side="right"), minlength=len(edges) + 1)


def _without_empty(names: Sequence[str], then: np.ndarray, now: np.ndarray) -> Shift:
    """The shift without bins that are empty on both sides."""
    held = (then + now) > 0
    return Shift([name for name, keep in zip(names, held, strict=True) if keep], then[held], now[held])


def verdict(shifts: Mapping[str, Shift], most: float, reference: str) -> Verdict:
    """Whether no distribution moved further than the limit and further than chance explains.

    Args:
        shifts: the shifts, by the name of the column.
        most: greatest index.
        reference: name of the run that `then` is of.
    """
    comparable = {name: shift for name, shift in shifts.items() if shift.has_values}
    if not comparable:
        return not_known("drift", f"there are no values to compare with {reference}")
    moved = [name for name, shift in comparable.items() if shift.index > max(most, shift.by_chance)]
    indexes = ", ".join(f"{name} {shift.index:.3f}" for name, shift in comparable.items())
    do = f": look at what has come in since; {', '.join(moved)} moved, and a model may need training" if moved else ""
    figures = {f"bins_{name}": shift.rows() for name, shift in comparable.items()}
    return Verdict(
        "drift",
        not moved,
        f"population stability index against {reference}: {indexes}; {limit(SETTING, most)}{do}",
        {
            "index": {name: round(shift.index, 4) for name, shift in comparable.items()},
            "by_chance": {name: round(shift.by_chance, 4) for name, shift in comparable.items()},
            **figures,
        },
        "WARN",
    )
