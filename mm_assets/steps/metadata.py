"""Turns values into metadata for Dagster's UI: values with rows become short tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mm_assets.judging.verdicts import Verdict
from mm_assets.previews.markdown import one_line, table

# Dagster reads whole events for every page that shows them. The lake has all rows.
MAX_ROWS = 40
# A wider matrix cannot be read as a table: the preview draws it.
MAX_COLUMNS = 12
MAX_NAMES = 40
# The key in the metadata of a check's result for the data version that it judged.
JUDGED = "data_version"


def as_metadata(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """A JSON value as Dagster metadata: mappings and lists of mappings become Markdown tables, the rest stays."""
    if isinstance(value, Mapping):
        nested = any(isinstance(item, Mapping) for item in value.values())
        return dg.MetadataValue.md(_matrix(value) if nested else _capped(["", ""], list(value.items())))
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and isinstance(value[0], Mapping):
            return dg.MetadataValue.md(_thinned(value))
        return _listed(value)
    return round(value, 6) if isinstance(value, float) else value


def check_result(asset: str, verdict: Verdict, data_version: str | None) -> dg.AssetCheckResult:
    """A verdict as Dagster records it, on an asset at a data version; None: the asset was not published."""
    figures = {JUDGED: data_version, **verdict.figures}
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey.from_user_string(asset),
        check_name=verdict.name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity[verdict.severity],
        description=verdict.sentence,
        metadata={name: as_metadata(value) for name, value in figures.items() if value is not None},
    )


def _matrix(value: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of a mapping of mappings; a missing value is 0."""
    columns = sorted({name for row in value.values() for name in row})
    if len(columns) > MAX_COLUMNS:
        return f"{len(value):,} x {len(columns):,} values: see the picture."
    return _capped(["", *columns], [[name, *(row.get(column, 0) for column in columns)] for name, row in value.items()])


def _capped(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return table(head, rows[:MAX_ROWS], more=max(0, len(rows) - MAX_ROWS))


def _thinned(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of rows; a long one is thinned to every n-th row, from the first."""
    every = -(-len(rows) // MAX_ROWS)
    chosen = rows[::every]
    return table(list(rows[0]), [list(row.values()) for row in chosen], more=len(rows) - len(chosen))


def _listed(values: Sequence[Any]) -> str:
    words = [f"{item:.4g}" if isinstance(item, float) else one_line(item) for item in values[:MAX_NAMES]]
    more = [f"... and {len(values) - MAX_NAMES:,} more"] if len(values) > MAX_NAMES else []
    return ", ".join(words + more)
