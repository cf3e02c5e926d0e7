"""The population stability index: what it is of known shares, that chance does not trip it, and odd columns."""

import math

import numpy as np
import pytest

from mm_assets.judging.drift import Shift, of_labels, of_numbers, verdict


def normal(count: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, count)


def test_the_index_of_known_shares() -> None:
    """(0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5)."""
    shift = Shift(["a", "b"], np.array([500_000, 500_000]), np.array([200_000, 800_000]))
    assert shift.index == pytest.approx(-0.3 * math.log(0.4) + 0.3 * math.log(1.6), abs=1e-4)


def test_the_bins_hold_a_tenth_of_the_reference_each() -> None:
    shift = of_numbers(np.arange(1000.0), np.arange(500.0))
    assert shift.then.tolist() == [100] * 10
    assert shift.now.tolist() == [100] * 5 + [0] * 5
    assert math.isfinite(shift.index)


def test_a_moved_mean_is_seen_and_the_same_distribution_is_not() -> None:
    assert of_numbers(normal(5000), normal(5000, seed=1)).index < 0.02
    assert of_numbers(normal(5000), normal(5000, mean=1, seed=1)).index > 0.5


def test_small_samples_move_by_chance() -> None:
    """Of 200 pairs of 30 numbers each, about 1 in 20 is beyond what is said of chance; many are beyond 0.25."""
    rng = np.random.default_rng(0)
    shifts = [of_numbers(rng.normal(size=30), rng.normal(size=30)) for _ in range(200)]
    assert sum(shift.index > 0.25 for shift in shifts) > 100
    assert sum(shift.index > shift.by_chance for shift in shifts) < 20
    assert all(verdict({"x": shift}, 0.25, "then").passed for shift in shifts if shift.index <= shift.by_chance)


@pytest.mark.parametrize("now", [0.4, 0.6])
def test_a_constant_column_moves_to_either_side(now: float) -> None:
    then = np.full(200, 0.5)
    assert of_numbers(then, then).index == 0
    assert of_numbers(then, np.full(200, now)).index > 5


def test_a_value_that_most_rows_have_is_a_bin_of_its_own() -> None:
    then = np.concatenate([np.zeros(800), np.linspace(0.1, 1, 200)])
    shift = of_numbers(then, then)
    assert 800 in shift.then.tolist()
    assert shift.then.sum() == 1000


def test_null_is_a_bin() -> None:
    then, now = np.arange(100.0), np.concatenate([np.arange(50.0), np.full(50, np.nan)])
    shift = of_numbers(then, now)
    assert (shift.bins[-1], shift.then[-1], shift.now[-1]) == ("no value", 0, 50)
    assert shift.index > 1


def test_columns_without_any_value_have_not_moved() -> None:
    nothing = np.full(20, np.nan)
    assert not of_numbers(nothing, nothing).has_values
    assert of_numbers(nothing, np.arange(20.0)).index > 1
    assert not of_numbers(np.array([]), np.arange(20.0)).has_values
    assert not of_numbers(np.arange(20.0), np.array([])).has_values


def test_labels_that_come_and_go() -> None:
    assert of_labels({"gym": 50, "pool": 50}, {"gym": 51, "pool": 49}).index < 0.01
    assert of_labels({"gym": 50, "pool": 50}, {"gym": 50, "sauna": 50}).index > 1


def test_the_sentence_names_what_moved_the_limit_and_its_setting() -> None:
    shifts = {
        "entropy": of_numbers(normal(500), normal(500, seed=1)),
        "sharpness": of_numbers(normal(500), normal(500, 1)),
    }
    found = verdict(shifts, 0.25, "the last promoted run (images:aaaaaa@v3)")
    assert (found.passed, found.severity) == (False, "WARN")
    assert found.sentence.startswith(
        "population stability index against the last promoted run (images:aaaaaa@v3): entropy 0.0"
    )
    assert "checks.max_drift (MM_CHECKS__MAX_DRIFT) is 0.25: look at what has come in since; sharpness moved" in (
        found.sentence
    )
    assert verdict(dict.fromkeys(("a", "b"), shifts["entropy"]), 0.25, "then").passed


def test_nothing_to_compare_passes_and_says_so() -> None:
    found = verdict({"x": of_numbers(np.array([]), np.array([]))}, 0.25, "the last promoted run")
    assert (found.passed, found.sentence) == (
        True,
        "not known: there are no values to compare with the last promoted run",
    )
