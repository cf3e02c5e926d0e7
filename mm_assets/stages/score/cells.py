"""Cells: the values of a scorer for an image, checked against the types of its columns, or the error."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mm_assets.scoring import Scorer


@dataclass(frozen=True)
class Cell:
    """The values of one image by column, or the error; with an error all values are null."""

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


def failed(reason: str) -> Cell:
    """A cell with an error and no values."""
    return Cell(error=reason)


def to_cell(scorer: Scorer, values: Any) -> Cell:  # noqa: ANN401  (whatever a scorer returns)
    """Turn a scorer's result for one image into a cell; a result that does not fit the columns becomes an error."""
    try:
        if set(scorer.columns) != set(values):
            raise KeyError(f"returned {sorted(values)}, not {sorted(scorer.columns)}")
        return Cell({name: _converted(values[name], kind) for name, kind in scorer.types.items()})
    except Exception as error:  # noqa: BLE001  (the value may be anything; the cell keeps what is wrong with it)
        return failed(f"{type(error).__name__}: {error}")


def columns_of(scorer: Scorer, cells: Sequence[Cell], digests: Sequence[str]) -> dict[str, pa.Array]:
    """The cells as all columns of a scorer; `digests` are those of the values of `reads`, where it has any."""
    state = {
        scorer.rev_column: [scorer.revision] * len(cells),
        scorer.error_column: [cell.error for cell in cells],
        scorer.read_column: digests,
    }
    columns = {name: [cell.values.get(name) for cell in cells] for name in scorer.columns} | state
    return {one.name: pa.array(columns[one.name], one.type) for one in scorer.fields()}


def digest_of(values: Sequence[Any]) -> str:
    """Digest of some values, as 16 hex digits."""
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:16]


def _converted(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401
    """Convert a value to the Arrow type."""
    return pa.scalar(_plain(value, kind), kind).as_py()


def _plain(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401
    """Convert arrays (NumPy's, torch's) to lists, and refuse values that Arrow would silently cut.

    Raises:
        ValueError: the value is no list, has a field that the struct lacks, or has a fraction for an integer type.
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
