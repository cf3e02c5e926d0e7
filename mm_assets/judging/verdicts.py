"""Verdicts of checks: passed or failed, in a sentence with the limit, its setting and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# WARN never fails a run. ERROR fails it, and assets made from this one wait.
Severity = Literal["WARN", "ERROR"]


@dataclass(frozen=True)
class Verdict:
    """The verdict of a check on data.

    Args:
        name: name of the check.
        passed: whether the data are as they should be.
        sentence: the measured figure, the limit and its setting; on failure also what to do.
        figures: JSON values; mappings and lists of mappings are shown as tables.
        severity: what a failure means.
    """

    name: str
    passed: bool
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "ERROR"


def limit(setting: str, value: float) -> str:
    """A limit in words, with the names of its setting in the profile and in the environment."""
    return f"{setting} (MM_{setting.upper().replace('.', '__')}) is {value:g}"


def share(part: int, whole: int) -> float | None:
    """The quotient that a limit is compared with; None where `whole` is 0.

    Limits are compared with quotients: in floating point `29 <= 0.29 * 100` does not hold, `29 / 100 <= 0.29` does.
    """
    return part / whole if whole else None


def at_most(part: int, whole: int, most: float) -> bool:
    """Whether a share is within its limit; it is where `whole` is 0."""
    quotient = share(part, whole)
    return quotient is None or quotient <= most


def of(part: int, whole: int, what: str) -> str:
    """A share in words: `3 of 40 rows (7.5%)`; `0 of 0 rows` has no percentage."""
    quotient = share(part, whole)
    return f"{part:,} of {whole:,} {what}" + ("" if quotient is None else f" ({quotient:.1%})")


def failed_sentences(verdicts: Sequence[Verdict]) -> str:
    """The sentences of the failed verdicts, each after the name of its check."""
    return "; ".join(f"{verdict.name}: {verdict.sentence}" for verdict in verdicts if not verdict.passed)


def coverage(covered: int, usable: int, least: float, setting: str, what: str, do: str) -> Verdict:
    """Whether enough of the usable images have something.

    Args:
        covered: number of usable images that have it.
        usable: number of usable images.
        least: least share, 0 to 1.
        setting: name of the setting that gives this limit.
        what: name of the thing, for the sentence.
        do: what to do where too few images have it.
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
    """The verdict of a check with nothing to compare: it passes, and says why."""
    return Verdict(name, True, f"not known: {why}", severity=severity)
