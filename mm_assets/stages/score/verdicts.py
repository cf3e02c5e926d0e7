"""Verdicts on the scores: whether cells are missing, how many failed, and how far the values moved."""

from collections.abc import Mapping

import pyarrow as pa

from mm_assets.judging import drift
from mm_assets.judging.verdicts import Verdict, at_most, coverage, limit, of, share
from mm_assets.previews.rows import numbers

COVERAGE = "checks.min_score_coverage"


def scored(asset: str, covered: int, usable: int, least: float) -> Verdict:
    """Whether enough usable images have a cell at the current revision; failed cells count."""
    return coverage(covered, usable, least, COVERAGE, f"a cell of {asset} as it is now", f"materialize {asset}")


def error_budget(asset: str, failed: int, usable: int, budget: tuple[float, str]) -> Verdict:
    """Whether few enough cells are errors.

    Args:
        asset: asset of the scorer.
        failed: number of failed cells.
        usable: number of usable images.
        budget: greatest share, and the name of its setting.
    """
    most, setting = budget
    passed = at_most(failed, usable, most)
    do = "" if passed else f": look at the errors, then materialize {asset} with retry_errors, or allow more"
    return Verdict(
        "error_budget",
        passed,
        f"{of(failed, usable, 'cells')} are errors; {limit(setting, most)}{do}",
        {"failed": failed, "usable": usable, "share": share(failed, usable)},
    )


def moved(then: pa.Table, now: pa.Table, most: float, reference: str) -> Verdict:
    """Whether no column of both tables has moved; `reference` is the name of the run that `then` is of."""
    shifts: Mapping[str, drift.Shift] = {
        name: drift.of_numbers(numbers(then[name]), numbers(now[name]))
        for name in now.schema.names
        if name in then.schema.names
    }
    return drift.verdict(shifts, most, reference)
