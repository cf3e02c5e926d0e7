"""Pins the inputs of a step: the materialization that Dagster's newest event of each names."""

from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.lineage.records import Record
from mm_assets.steps.events import newest_event

if TYPE_CHECKING:
    from mm_assets.history.history import History

# The key in the metadata of a materialization for the id of its record.
RECORD = "lineage_record"


class Pins:
    """The pinned inputs of a step, chosen by Dagster's events.

    The events are read once, before the lake's history. The history then holds the record of each.

    Args:
        context: Dagster's context of the step.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        keys = _upstream_keys(context)
        self._events = {key.to_user_string(): newest_event(context.instance, key) for key in keys}
        # The storage id of the event that chose an input, by asset; None where no event did.
        self.pointers: dict[str, int | None] = {}

    @property
    def inputs(self) -> list[str]:
        """The assets that the step reads."""
        return list(self._events)

    def choose(self, asset: str, history: "History") -> Record:
        """The materialization of an input; see `pin`."""
        record, self.pointers[asset] = pin(asset, self._events[asset], history)
        return record


def pin(asset: str, event: dg.EventLogRecord | None, history: "History") -> tuple[Record, int | None]:
    """The materialization of an input that a step reads, and the storage id of its Dagster event.

    Its version overrides (in `result_of`) the one that Dagster itself noted when the step began. Otherwise an input
    that is materialized in between would be recorded at one version and read at another. Where the instance has no
    event of this lake, the lake's own newest record is taken.

    Raises:
        RefusalError: the lake has no materialization of the input.
    """
    from mm_assets.history.begin import newest_materialization

    newest = newest_materialization(asset, history)
    if event is not None and event.asset_materialization is not None:
        entry = event.asset_materialization.metadata.get(RECORD)
        record = history.records.get(str(entry.value)) if entry is not None else None
        if record is not None and record.ref.table_id == newest.ref.table_id:
            return record, event.storage_id
    return newest, None


def _upstream_keys(context: dg.AssetExecutionContext) -> list[dg.AssetKey]:
    selected = context.selected_asset_keys
    specs = (context.assets_def.get_asset_spec(key) for key in selected)
    return sorted({dep.asset_key for spec in specs for dep in spec.deps} - selected)
