"""Accuracy, interval and gate, against values that can be known."""

from collections.abc import Callable

import numpy as np
import pytest

from mm_assets.judging.statistics import (
    Interval,
    confusion,
    hits,
    mean,
    paired_bootstrap,
    per_class,
    promotes,
    wilson_upper,
)

TRUTH = ["a", "a", "b", "b"]
SAID = ["a", "b", "b", None]


def test_a_missing_answer_is_wrong() -> None:
    assert hits(TRUTH, SAID) == [1, 0, 1, 0]
    assert per_class(TRUTH, SAID) == {"a": {"examples": 2, "recall": 0.5}, "b": {"examples": 2, "recall": 0.5}}
    assert confusion(TRUTH, SAID) == {"a": {"a": 1, "b": 1, "error": 0}, "b": {"a": 0, "b": 1, "error": 1}}


def test_the_mean_of_nothing_is_no_number() -> None:
    assert mean([0.25, 0.75]) == 0.5
    with pytest.raises(ValueError, match="no examples"):
        mean([])


def interval(challenger: list[float], champion: list[float]) -> Interval:
    return paired_bootstrap(challenger, champion, confidence=0.95, samples=4000)


def right_or_wrong(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return (rng.random(200) < 0.7).astype(float), (rng.random(200) < 0.6).astype(float)


def shares_of_tokens(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    lengths = rng.integers(3, 30, 200)
    return rng.binomial(lengths, 0.6) / lengths, rng.binomial(lengths, 0.5) / lengths


@pytest.mark.parametrize("scores", [right_or_wrong, shares_of_tokens])
def test_the_interval_agrees_with_resampling_the_pairs(
    scores: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = scores(rng)
    picks = rng.integers(0, 200, (4000, 200))
    means = (ours[picks] - theirs[picks]).mean(axis=1)
    found = interval(ours.tolist(), theirs.tolist())
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.015)
    assert found == interval(ours.tolist(), theirs.tolist())


def test_what_is_hard_for_both_does_not_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(200)
    found = interval((hard * 0.9 + 0.1).tolist(), (hard * 0.9).tolist())
    assert [found.low, found.high] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("scores", [[1.0] * 390 + [0.0] * 10, (np.arange(400) / 400).tolist()])
def test_a_model_against_itself_is_never_promoted(scores: list[float]) -> None:
    same = interval(scores, scores)
    assert (same.low, same.high) == (0, 0)
    assert promotes(same, 0.975, 0.0)[0] is False


def test_the_gate_asks_for_both() -> None:
    better = Interval(0.1, 0.05, 0.15)
    assert promotes(better, 0.7, 0.6) == (True, "better by +0.100 [+0.050, +0.150]")
    assert promotes(better, 0.19, 0.6) == (False, "accuracy 0.190 is below min_accuracy 0.600")
    assert promotes(Interval(0.1, -0.01, 0.2), 0.9, 0.6)[0] is False


def test_the_upper_end_of_a_share_is_wilsons() -> None:
    """Figures of the paper's formula, by hand: 17 of 20, and a share without a failure."""
    assert wilson_upper(0.85, 20) == pytest.approx(0.9476, abs=1e-3)
    assert wilson_upper(1.0, 10) == pytest.approx(1.0)
    assert wilson_upper(0.85, 2000) == pytest.approx(0.865, abs=1e-3)
