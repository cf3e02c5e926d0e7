"""`models.lance`: a row for every model, with the digest of its files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import lance
import pyarrow as pa

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import schema_of
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.models.files import has_model
from mm_assets.lineage.columns import Column, Kind
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepContext, StepResult

TABLE = "models"

COLUMNS = (
    Column(
        "digest",
        pa.string(),
        "SHA-256 over the names and contents of the model's files, 16 hex digits.",
        kind=Kind.KEY,
    ),
    Column("kind", pa.string(), "base or checkpoint."),
    Column("name", pa.string(), "As a person calls it."),
    Column("num_bytes", pa.int64(), "Bytes of all files."),
    Column("inputs", pa.string(), "JSON: data version by asset, of everything that was read."),
    Column("recipe_digest", pa.string(), "Of the recipe: the same one is not made twice."),
    Column("recipe", pa.string(), "JSON: what the files were made from."),
    Column("metrics", pa.string(), "JSON: what the training measured."),
    Column("run_id", pa.string(), "The run that made it."),
    Column("created_at", pa.timestamp("us", tz="UTC"), "When it was registered."),
)
SCHEMA = schema_of(COLUMNS)


@dataclass(frozen=True)
class Model:
    """A row of the registry."""

    digest: str
    kind: str
    name: str
    num_bytes: int
    inputs: dict[str, str]
    recipe: dict[str, Any]
    metrics: dict[str, Any]


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Digest of a recipe's canonical JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def find(tables: Lake, ds: lance.LanceDataset, **columns: str) -> Model | None:
    """The newest model whose columns equal `columns` and whose files are in the lake; None without one."""
    condition = " and ".join(f"{name} = '{value}'" for name, value in columns.items())
    rows = sorted(ds.to_table(filter=condition).to_pylist(), key=lambda row: row["created_at"])
    present = (row for row in reversed(rows) if has_model(tables, row["digest"], row["num_bytes"]))
    newest = next(present, None)
    return _model(newest) if newest else None


def get(tables: Lake, digest: str) -> Model:
    """A registered model by its digest.

    Raises:
        RefusalError: it is not in the registry, or its files are missing.
    """
    model = find(tables, tables.open(TABLE), digest=digest)
    if model is None:
        raise RefusalError(f"the files of model {digest} are not in the lake {tables.root}: materialize it again")
    return model


def _model(row: dict[str, Any]) -> Model:
    names = ("digest", "kind", "name", "num_bytes")
    parsed = {name: json.loads(row[name]) for name in ("inputs", "recipe", "metrics")}
    return Model(**{name: row[name] for name in names}, **parsed)


def register(tables: Lake, model: Model, run_id: str, properties: Mapping[str, str]) -> None:
    """Write a model's row in one commit; it replaces a row with the same digest."""
    row = {
        "digest": model.digest,
        "kind": model.kind,
        "name": model.name,
        "num_bytes": model.num_bytes,
        "inputs": json.dumps(model.inputs, sort_keys=True),
        "recipe_digest": recipe_digest(model.recipe),
        "recipe": json.dumps(model.recipe, sort_keys=True),
        "metrics": json.dumps(model.metrics),
        "run_id": run_id,
        "created_at": datetime.now(UTC),
    }

    def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        rows = pa.Table.from_pylist([row], schema=pa.schema(list(head.schema)))
        return replace_rows(head, "digest", [model.digest], write_fragments(tables, TABLE, rows))

    commit(tables, TABLE, put, properties)


def register_once(step: StepContext, tables: Lake, asset: str, model: Model) -> StepResult:
    """Register a model for an asset, unless the asset's last record and the registry have it already."""
    result = StepResult(
        {"rows": 1, "digest": model.digest, "name": model.name, "num_bytes": model.num_bytes, **model.metrics}
    )
    last = step.last_record(asset)
    has_row = find(tables, tables.open(TABLE), digest=model.digest) is not None
    if last is None or last.metadata["digest"] != model.digest or not has_row:
        register(tables, model, step.run_id, step.properties([asset], 1, {asset: result}))
    return result
