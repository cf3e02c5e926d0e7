"""What the UI shows of a materialization beside its numbers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from mm_assets.lineage.records import Record

if TYPE_CHECKING:
    from mm_assets.history.begin import OpenStep
    from mm_assets.history.materialized import Materialized

# Draws a materialization: Markdown by name.
Previews = Callable[["Materialized"], dict[str, str]]


def previews_of(
    context: dg.AssetExecutionContext, step: "OpenStep", record: Record, previews: Previews | None
) -> dict[str, Any]:
    """The pictures of a materialization; one that cannot be drawn says so: what it shows is published already."""
    from mm_assets.history.materialized import Materialized

    if previews is None:
        return {}
    try:
        drawn = previews(Materialized(record, step.history))
        return {name: dg.MetadataValue.md(text) for name, text in drawn.items()}
    except Exception as error:
        context.log.warning(f"no preview of {record.asset}: {type(error).__name__}: {error}", exc_info=True)
        return {"preview_error": f"{type(error).__name__}: {error}"}
