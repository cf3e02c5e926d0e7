"""Draws the previews of a materialization, once for each data version."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from mm_assets.lineage.records import Record
from mm_assets.steps.events import newest_event
from mm_assets.steps.pins import RECORD

if TYPE_CHECKING:
    from mm_assets.history.begin import OpenStep
    from mm_assets.history.history import History
    from mm_assets.history.materialized import Materialized

# Draws a materialization: returns Markdown by name. Every name begins with `PREFIX`.
Previews = Callable[["Materialized"], dict[str, str]]

PREFIX = "preview_"
ERROR = "preview_error"


def previews_of(
    context: dg.AssetExecutionContext, step: "OpenStep", record: Record, previews: Previews | None
) -> dict[str, Any]:
    """The previews of a materialization: those of the previous event where it has the same version, else new ones."""
    if previews is None:
        return {}
    existing = _existing_previews(context.instance, step.history, record) if record.reused else {}
    return existing or _draw(context, step, record, previews)


def _existing_previews(instance: dg.DagsterInstance, history: "History", record: Record) -> dict[str, Any]:
    """The previews of the asset's newest event, if it has the same version and code, and no error of drawing."""
    event = newest_event(instance, dg.AssetKey.from_user_string(record.asset))
    materialization = event.asset_materialization if event else None
    if materialization is None or RECORD not in materialization.metadata or ERROR in materialization.metadata:
        return {}
    earlier = history.records.get(str(materialization.metadata[RECORD].value))  # None: the event is of another lake
    if earlier is None or (earlier.ref, earlier.code_version) != (record.ref, record.code_version):
        return {}
    return {name: value for name, value in materialization.metadata.items() if name.startswith(PREFIX)}


def _draw(context: dg.AssetExecutionContext, step: "OpenStep", record: Record, previews: Previews) -> dict[str, Any]:
    """Draw the previews; an error becomes a preview and fails nothing, because the asset is published already."""
    from mm_assets.history.materialized import Materialized

    try:
        pictures = previews(Materialized(record, step.history))
        return {name: dg.MetadataValue.md(text) for name, text in pictures.items()}
    except Exception as error:
        context.log.warning(f"no preview of {record.asset}: {type(error).__name__}: {error}", exc_info=True)
        return {ERROR: f"{type(error).__name__}: {error}"}
