"""Cells: what a scorer gave for an image, held to the types that it states, or why there is nothing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mm_assets.scoring import Scorer


@dataclass(frozen=True)
class Cell:
    """The values of an image by column (all null where there is an error), and the error."""

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


def failed(reason: str) -> Cell:
    """A cell without values."""
    return Cell(error=reason)


def to_cell(scorer: Scorer, values: Any) -> Cell:  # noqa: ANN401  (whatever a scorer returns)
    """The cell of what a scorer gave for an image; what does not fit its columns is the cell's error."""
    try:
        if set(scorer.columns) != set(values):
            raise KeyError(f"returned {sorted(values)}, not {sorted(scorer.columns)}")
        return Cell({name: _converted(values[name], kind) for name, kind in scorer.types.items()})
    except Exception as error:  # noqa: BLE001  (the value may be anything; the cell keeps what is wrong with it)
        return failed(f"{type(error).__name__}: {error}")


def columns_of(scorer: Scorer, cells: Sequence[Cell], digests: Sequence[str]) -> dict[str, pa.Array]:
    """All columns of a scorer; `digests` of what each cell was computed from beside the image, if anything."""
    state = {
        scorer.rev_column: [scorer.revision] * len(cells),
        scorer.error_column: [cell.error for cell in cells],
        scorer.read_column: digests,
    }
    columns = {name: [cell.values.get(name) for cell in cells] for name in scorer.columns} | state
    return {one.name: pa.array(columns[one.name], one.type) for one in scorer.fields()}


def digest_of(values: Sequence[Any]) -> str:
    """Sixteen hex digits that other values change."""
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:16]


def _converted(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401
    """A value as Arrow takes it for the type."""
    return pa.scalar(_plain(value, kind), kind).as_py()


def _plain(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401
    """Without the arrays in it (NumPy's, torch's), and refused where Arrow would drop a part of it.

    Raises:
        ValueError: it is no list where one is due, or has a field that the struct has not, or a fraction.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        if value % 1 and pa.types.is_integer(kind):
            raise ValueError(f"{value} is no {kind}")
        return value
    if pa.types.is_struct(kind):
        unknown = sorted(set(value) - {one.name for one in kind})
        if unknown:
            raise ValueError(f"{unknown[0]} is no field of {kind}")
        return {one.name: _plain(value.get(one.name), one.type) for one in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise ValueError(f"{value!r} is no list: the type is {kind}")
        return [_plain(item, kind.value_type) for item in value]
    return value
