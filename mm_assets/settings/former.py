"""The former settings for bounds on scores, before `curate.limits`: refused by name, and kept in digests."""

from collections.abc import Mapping
from typing import Any

# By name: the column, the end that it bounded, and the value that bounded nothing.
FORMER_BOUNDS = {
    "min_sharpness": ("sharpness", "min", 0.0),
    "min_luminance": ("luminance", "min", 0.0),
    "max_luminance": ("luminance", "max", 255.0),
    "max_clipped": ("clipped", "max", 1.0),
    "min_entropy": ("entropy", "min", 0.0),
}


def refuse_former_bounds(values: Mapping[str, Any]) -> None:
    """Refuse former settings of `curate`.

    Raises:
        ValueError: a former setting is there; the message says what to write instead.
    """
    for name in values:
        if name in FORMER_BOUNDS:
            column, end, _ = FORMER_BOUNDS[name]
            raise ValueError(
                f"{name} is a limit like any other now: write curate.limits: {{{column}: {{{end}: {values[name]}}}}}"
            )


def in_former_words(curate: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `curate` in the former names, where they mean the same.

    The code version of the dataset is a digest of these values. With the new names, every existing dataset would be
    built again. The former settings always bounded these columns. Where one has no limit now, the digest is a new one.
    """
    limits = {column: dict(limit) for column, limit in curate["limits"].items()}
    former = {}
    for name, (column, end, unbounded) in FORMER_BOUNDS.items():
        value = limits[column].pop(end) if column in limits else None
        former[name] = unbounded if value is None and column in limits else value
    left = {column: {"min": None, "max": None} | limit for column, limit in limits.items() if _bounds(limit)}
    return {**curate, **former, "limits": left}


def _bounds(limit: Mapping[str, float | None]) -> bool:
    """Whether a limit bounds anything."""
    return any(value is not None for value in limit.values())
