"""What a check says of data: passed or not, in one sentence that names the limit, its setting and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# WARN never fails a run. ERROR fails it, and what is made from the asset waits.
Severity = Literal["WARN", "ERROR"]


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Args:
        name: of the check.
        passed: whether the data are as they should be.
        sentence: what was found, the limit, its setting; where it failed, what to do.
        figures: JSON values; lists of mappings and mappings are shown as tables.
        severity: what a failure means.
    """

    name: str
    passed: bool
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "ERROR"


def limit(setting: str, value: float) -> str:
    """A limit with the names of its setting, in the profile and in the environment."""
    return f"{setting} (MM_{setting.upper().replace('.', '__')}) is {value:g}"


def share(part: int, whole: int) -> float | None:
    """What a limit is compared with; None where there is nothing to have a share of.

    A quotient: `29 <= 0.29 * 100` does not hold in floating point, `29 / 100 <= 0.29` does.
    """
    return part / whole if whole else None


def at_most(part: int, whole: int, most: float) -> bool:
    """Whether a share is within its limit; nothing of nothing is."""
    quotient = share(part, whole)
    return quotient is None or quotient <= most


def of(part: int, whole: int, what: str) -> str:
    """A share in words: `3 of 40 rows (7.5%)`; without a percentage where there is nothing: `0 of 0 rows`."""
    quotient = share(part, whole)
    return f"{part:,} of {whole:,} {what}" + ("" if quotient is None else f" ({quotient:.1%})")


def failed_sentences(verdicts: Sequence[Verdict]) -> str:
    """The sentences of those that did not pass, each after the name of its check."""
    return "; ".join(f"{verdict.name}: {verdict.sentence}" for verdict in verdicts if not verdict.passed)


def coverage(covered: int, usable: int, least: float, setting: str, what: str, do: str) -> Verdict:
    """Whether enough of the usable images have something.

    Args:
        covered: usable images that have it.
        usable: all of them.
        least: share, 0 to 1.
        setting: the name of that limit.
        what: they have.
        do: what to do where they are too few.
    """
    quotient = share(covered, usable)
    passed = quotient is None or quotient >= least
    return Verdict(
        "coverage",
        passed,
        f"{of(covered, usable, 'usable images')} have {what}; {limit(setting, least)}{'' if passed else f': {do}'}",
        {"covered": covered, "usable": usable, "share": quotient},
    )


def not_known(name: str, why: str, severity: Severity = "WARN") -> Verdict:
    """The verdict of a check that has nothing to compare with: it passes, and says why."""
    return Verdict(name, True, f"not known: {why}", severity=severity)
