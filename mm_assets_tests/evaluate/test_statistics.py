"""Accuracy, interval and gate, against values that can be known."""

import numpy as np
import pytest

from mm_assets.evaluate.statistics import Interval, accuracy, confusion, paired_bootstrap, per_class, promotes

TRUTH = ["a", "a", "b", "b"]
SAID = ["a", "b", "b", None]


def test_a_missing_answer_is_wrong() -> None:
    assert accuracy(TRUTH, SAID) == 0.5
    assert per_class(TRUTH, SAID) == {"a": {"examples": 2, "recall": 0.5}, "b": {"examples": 2, "recall": 0.5}}
    assert confusion(TRUTH, SAID) == {"a": {"a": 1, "b": 1, "error": 0}, "b": {"a": 0, "b": 1, "error": 1}}


def test_accuracy_of_nothing_is_no_number() -> None:
    with pytest.raises(ValueError, match="no examples"):
        accuracy([], [])


def interval(challenger: list[bool], champion: list[bool]) -> Interval:
    return paired_bootstrap(challenger, champion, confidence=0.95, samples=4000)


def test_the_interval_agrees_with_resampling_the_pairs() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(200) < 0.7, rng.random(200) < 0.6
    picks = rng.integers(0, 200, (4000, 200))
    means = (ours[picks].astype(float) - theirs[picks]).mean(axis=1)
    found = interval(ours.tolist(), theirs.tolist())
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.015)


def test_a_model_against_itself_is_never_promoted() -> None:
    right = [True] * 390 + [False] * 10
    same = interval(right, right)
    assert (same.low, same.high) == (0, 0)
    assert promotes(same, 0.975, 0.0)[0] is False


def test_the_gate_asks_for_both() -> None:
    better = Interval(0.1, 0.05, 0.15)
    assert promotes(better, 0.7, 0.6) == (True, "better by +0.100 [+0.050, +0.150]")
    assert promotes(better, 0.19, 0.6) == (False, "accuracy 0.190 is below min_accuracy 0.600")
    assert promotes(Interval(0.1, -0.01, 0.2), 0.9, 0.6)[0] is False
