"""Reports a materialization to Dagster: its version, the versions that it read, and its metadata."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import AssetKey

from mm_assets.lineage.columns import TableColumns, sentence_of, sources_of
from mm_assets.lineage.records import Record
from mm_assets.steps.events import INPUT_POINTER, INPUT_VERSION
from mm_assets.steps.metadata import as_metadata
from mm_assets.steps.pins import RECORD

if TYPE_CHECKING:
    import pyarrow as pa

    from mm_assets.history.begin import OpenStep


def result_of(
    step: "OpenStep",
    record: Record,
    columns: TableColumns,
    pointers: Mapping[str, int | None],
    seconds: float,
    previews: Mapping[str, Any],
) -> dg.MaterializeResult:
    """A materialization as Dagster records it.

    Args:
        step: the step that made it.
        record: its record.
        columns: columns of its table, by the asset that fills them.
        pointers: storage ids of the Dagster events of its inputs, by asset.
        seconds: duration of its job.
        previews: metadata to show first.
    """
    metadata = {**previews, **_figures(step, record, seconds), **_columns(step, record, columns)}
    return dg.MaterializeResult(
        asset_key=AssetKey.from_user_string(record.asset),
        data_version=dg.DataVersion(record.data_version),
        metadata={name: value for name, value in metadata.items() if value is not None},
        tags=_tags(record, pointers),
    )


def _tags(record: Record, pointers: Mapping[str, int | None]) -> dict[str, str]:
    tags = {f"{INPUT_VERSION}{asset}": version for asset, version in record.read.items()}
    return tags | {f"{INPUT_POINTER}{name}": str(pointer) for name, pointer in pointers.items() if pointer is not None}


def _figures(step: "OpenStep", record: Record, seconds: float) -> dict[str, Any]:
    from mm_assets.engines.lake.sizes import bytes_written

    lake, table = step.history.lake, record.ref.table
    rows = record.metadata.get("rows_computed", record.metadata["rows"])
    before = step.context.own[record.asset].last_commit
    return {
        **{name: as_metadata(value) for name, value in record.metadata.items()},
        RECORD: record.id,
        "lance_version": record.ref.version,
        "reused": record.reused,
        "bytes_written": bytes_written(lake, table, record.asset, step.context.run_id, before.version if before else 0),
        "inputs": as_metadata(record.read or None),
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1) if seconds and not record.reused else None,
        "dagster/uri": lake.uri(table),
        "dagster/row_count": record.metadata["rows"],
    }


def _columns(step: "OpenStep", record: Record, columns: TableColumns) -> dict[str, Any]:
    ds = step.history.lake.open(record.ref.table, record.ref.version)
    sources = sources_of(columns[record.asset], ds.schema.names)
    return {
        "dagster/column_schema": dg.TableSchema([_shown_column(columns, record.asset, field) for field in ds.schema]),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(AssetKey.from_user_string(asset), name) for asset, name in deps]
                for column, deps in sources.items()
            }
        ),
        # The same as a table: Dagster's open-source UI shows column lineage only as JSON.
        "column_sources": as_metadata(
            {column: ", ".join(map(".".join, deps)) for column, deps in sources.items()} or None
        ),
    }


def _shown_column(columns: TableColumns, asset: str, field: "pa.Field") -> dg.TableColumn:
    sentence = sentence_of(columns, asset, field.name)
    return dg.TableColumn(field.name, str(field.type), sentence, dg.TableColumnConstraints(field.nullable))
