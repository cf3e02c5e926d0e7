"""Reads and writes the rows of `bundles.lance`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import is_in, replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.models.files import bundle_size
from mm_assets.stages.serve.tables import BUNDLES

if TYPE_CHECKING:
    import lance


@dataclass(frozen=True)
class Bundle:
    """A row of the table: what a bundle holds, and where it lies (see the columns)."""

    id: str
    model_digest: str
    recipe: dict[str, Any]
    sha256: str
    num_bytes: int
    uri: str
    properties: dict[str, str]
    card: str
    uploaded_to: str | None = None


JSON = ("recipe", "properties")


def find(lake: Lake, bundle_id: str) -> Bundle | None:
    """The bundle with an id; None where it has no row, or its file is missing or has another size."""
    rows = lake.open(BUNDLES).to_table(filter=is_in("id", [bundle_id])).to_pylist()
    if not rows or bundle_size(lake, rows[0]["uri"]) != rows[0]["num_bytes"]:
        return None
    names = {name: rows[0][name] for name in Bundle.__dataclass_fields__}
    return Bundle(**{**names, **{name: json.loads(rows[0][name]) for name in JSON}})


def uploaded_to(lake: Lake, bundle_id: str, sha256: str) -> str | None:
    """Where a bundle was uploaded before, if it had the same bytes."""
    rows = lake.open(BUNDLES).to_table(columns=["sha256", "uploaded_to"], filter=is_in("id", [bundle_id])).to_pylist()
    return next((row["uploaded_to"] for row in rows if row["sha256"] == sha256), None)


def register(lake: Lake, bundle: Bundle, run_id: str, properties: Mapping[str, str]) -> None:
    """Write the row of a bundle in one commit, in place of an older row."""
    texts = {name: json.dumps(getattr(bundle, name), sort_keys=True) for name in JSON}
    row = {**asdict(bundle), **texts, "run_id": run_id, "created_at": datetime.now(UTC)}

    def put(head: "lance.LanceDataset") -> "lance.LanceOperation.BaseOperation | None":
        rows = pa.Table.from_pylist([row], schema=pa.schema(list(head.schema)))
        return replace_rows(head, "id", [bundle.id], write_fragments(lake, BUNDLES, rows))

    commit(lake, BUNDLES, put, properties)
