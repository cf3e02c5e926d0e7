"""Bundles: which model is in each, and where it lies."""

import re
from collections.abc import Iterator

from mm_assets.engines.lake.rows import is_in
from mm_assets.operations.trace.lake import Row, TracedLake, rows_where
from mm_assets.operations.trace.nodes import Node, Trace
from mm_assets.stages.serve.tables import BUNDLES

COLUMNS = ["id", "model_digest", "sha256", "num_bytes", "uri", "uploaded_to", "run_id", "created_at"]


def bundles_of(lake: TracedLake, model: str) -> Iterator[Node]:
    """The bundles of a model, in the order in which they were recorded."""
    rows = rows_where(lake.head(BUNDLES), is_in("model_digest", [model]), COLUMNS)
    for row in sorted(rows, key=lambda row: (row["created_at"], row["id"])):
        yield Node("bundle", row["id"], bundle_facts(row))


def bundles_named(lake: TracedLake, what: str, fewest_digits: int) -> list[Row]:
    """The bundles whose id is, or begins with, these digits, or whose file has this SHA-256."""
    if re.fullmatch("[0-9a-f]{64}", what):
        return rows_where(lake.head(BUNDLES), is_in("sha256", [what]), COLUMNS)
    if not re.fullmatch(f"[0-9a-f]{{{fewest_digits},16}}", what):
        return []
    return rows_where(lake.head(BUNDLES), f"starts_with(id, '{what}')", COLUMNS)


def bundle_trace(row: Row, model: Node) -> Trace:
    """The trace of a bundle: up to the model in it."""
    return Trace("bundle", row["id"], bundle_facts(row), (model,))


def bundle_facts(row: Row) -> dict[str, object]:
    """Facts of a bundle."""
    names = ("model_digest", "sha256", "num_bytes", "uri", "uploaded_to", "run_id")
    return {**{name: row[name] for name in names}, "created_at": row["created_at"].isoformat()}
