"""Materializations in Dagster's event log: the tags that name versions, and the newest event of an asset."""

import dagster as dg

# Dagster's own tags. The last two are prefixes: the input's key follows.
DATA_VERSION, CODE_VERSION = "dagster/data_version", "dagster/code_version"
INPUT_VERSION, INPUT_POINTER = "dagster/input_data_version/", "dagster/input_event_pointer/"


def newest_event(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.EventLogRecord | None:
    """Dagster's newest materialization of an asset; None where it has none."""
    records = instance.fetch_materializations(key, limit=1).records
    return records[0] if records else None


def tags_of(event: dg.EventLogRecord) -> dict[str, str]:
    """The tags of a materialization."""
    materialization = event.asset_materialization
    return dict(materialization.tags or {}) if materialization else {}
