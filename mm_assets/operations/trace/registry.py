"""The registry of models as a trace reads it: a row that is not as it should be says what is wrong with it."""

import json
from typing import TYPE_CHECKING, Any

from mm_assets.history.rows import Row

if TYPE_CHECKING:
    import lance

DIGEST, WRONG = "digest", "wrong"
JSON = ("inputs", "recipe", "metrics")
COLUMNS = [DIGEST, "kind", "name", "num_bytes", *JSON, "recipe_digest", "run_id", "created_at"]


def models_of(ds: "lance.LanceDataset | None") -> dict[str, Row]:
    """Rows of the registry by digest, oldest first; {} without a registry.

    A row's `wrong` names its columns that cannot be read; those are empty.
    """
    if ds is None:
        return {}
    return {row[DIGEST]: _read(row) for row in ds.to_table(columns=COLUMNS).sort_by("created_at").to_pylist()}


def _read(row: Row) -> Row:
    values: dict[str, dict[str, Any]] = {}
    wrong = []
    for name in JSON:
        try:
            values[name] = _object(name, row[name])
        except ValueError as error:
            values[name] = {}
            wrong.append(f"{name} {error}")
    return {**row, **values, WRONG: wrong}


def _object(name: str, text: str | None) -> dict[str, Any]:
    """The JSON object in a column.

    Raises:
        ValueError: what is wrong with it.
    """
    if text is None:
        raise ValueError("is null")
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError("is no JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    if name == "inputs" and not all(isinstance(version, str) for version in value.values()):
        raise ValueError("has a version that is no text")
    return value
