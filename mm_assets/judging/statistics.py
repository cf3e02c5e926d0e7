"""Scores, confusion, and the paired interval of a difference: pure functions on labels and numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Interval:
    """A difference of two mean scores, and the ends of its confidence interval."""

    difference: float
    low: float
    high: float


def hits(truth: Sequence[str], answers: Sequence[str | None]) -> list[float]:
    """1 for each right answer, else 0; a missing answer is wrong."""
    return [float(a == b) for a, b in zip(truth, answers, strict=True)]


def wilson_upper(share: float, count: int) -> float:
    """Upper end of the 95% confidence interval of a share measured on `count` examples.

    It also holds for few examples. Wilson, "Probable inference, the law of succession, and statistical inference",
    1927.
    """
    z = 1.96
    spread = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return (share + z**2 / (2 * count) + spread) / (1 + z**2 / count)


def mean(scores: Sequence[float]) -> float:
    """The mean of all examples' scores.

    Raises:
        ValueError: there is nothing to judge.
    """
    if not scores:
        raise ValueError("the mean score of no examples")
    return float(np.mean(scores))


def per_class(truth: Sequence[str], answers: Sequence[str | None]) -> dict[str, dict[str, float | int]]:
    """The number of examples and the recall (the share that was recognised) of each true label."""
    counts, right = Counter(truth), Counter(a for a, b in zip(truth, answers, strict=True) if a == b)
    return {label: {"examples": counts[label], "recall": right[label] / counts[label]} for label in sorted(counts)}


def confusion(truth: Sequence[str], answers: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """Counts by true label, then by answered label ("error" for a missing answer); a square of all labels."""
    labels = sorted({*truth, *(answer or "error" for answer in answers)})
    matrix = {label: dict.fromkeys(labels, 0) for label in sorted(set(truth))}
    for (label, answer), count in sorted(Counter(zip(truth, (s or "error" for s in answers), strict=True)).items()):
        matrix[label][answer] = count
    return matrix


def paired_bootstrap(
    challenger: Sequence[float], champion: Sequence[float], *, confidence: float, samples: int, seed: int = 0
) -> Interval:
    """Percentile interval of the difference of two mean scores on the same examples.

    Each example is resampled with both models' scores, so examples that are hard for both do not widen the interval;
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        challenger: score of the challenger for each example, shape (n,).
        champion: score of the champion for each example, shape (n,).
        confidence: confidence of the interval, such as 0.95.
        samples: number of resamples.
        seed: seed of the resampling.
    """
    gains = np.asarray(challenger, dtype=np.float64) - np.asarray(champion, dtype=np.float64)
    values, counts = np.unique(gains, return_counts=True)
    rng = np.random.default_rng(seed)
    # In n draws with replacement, the counts of the values are multinomial. Right and wrong answers give only three
    # values, so this is much faster than drawing examples.
    draws = (rng.multinomial(len(gains), counts / len(gains)) for _ in range(samples))
    means = [float(draw @ values) / len(gains) for draw in draws]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(gains.mean()), float(low), float(high))


def promotes(interval: Interval, challenger_accuracy: float, min_accuracy: float) -> tuple[bool, str]:
    """Whether the challenger is promoted, and why (in words).

    It is where the interval lies above zero and the accuracy reaches its minimum.
    """
    if interval.low <= 0:
        return False, f"the interval of the difference [{interval.low:+.3f}, {interval.high:+.3f}] is not above zero"
    if challenger_accuracy < min_accuracy:
        return False, f"accuracy {challenger_accuracy:.3f} is below min_accuracy {min_accuracy:.3f}"
    return True, f"better by {interval.difference:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def count_values(column: pa.ChunkedArray) -> Counter[str]:
    """How often each value occurs."""
    counts = column.value_counts()
    return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))
