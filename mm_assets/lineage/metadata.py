"""How the metadata of a materialization is shown in Dagster's UI: tables where a value has rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

# A loss curve of thousands of steps belongs into the registry, not into the event log.
MAX_ROWS = 40


def shown(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """A JSON value as Dagster metadata: mappings and lists of mappings become Markdown tables, the rest stays."""
    if isinstance(value, Mapping):
        nested = any(isinstance(item, Mapping) for item in value.values())
        return dg.MetadataValue.md(_matrix(value) if nested else _table(["", ""], list(value.items())))
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and isinstance(value[0], Mapping):
            rows = value[:: -(-len(value) // MAX_ROWS)]
            return dg.MetadataValue.md(_table(list(value[0]), [list(row.values()) for row in rows]))
        return ", ".join(_cell(item) for item in value)
    return round(value, 6) if isinstance(value, float) else value


def _matrix(value: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows and columns of a mapping of mappings; what is missing is 0."""
    columns = sorted({name for row in value.values() for name in row})
    rows = [[name, *(row.get(column, 0) for column in columns)] for name, row in value.items()]
    return _table(["", *columns], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: Any) -> str:  # noqa: ANN401  (any JSON scalar)
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
