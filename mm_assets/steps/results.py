"""What Dagster is told of a materialization: its version, the versions that it read, and its metadata."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import AssetKey

from mm_assets.lineage.columns import column_sources
from mm_assets.lineage.descriptions import described
from mm_assets.lineage.records import Record
from mm_assets.steps.events import INPUT_POINTER, INPUT_VERSION
from mm_assets.steps.metadata import as_metadata
from mm_assets.steps.pins import RECORD

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

    from mm_assets.history.begin import OpenStep


def result_of(
    step: "OpenStep",
    record: Record,
    pointers: Mapping[str, int | None],
    seconds: float,
    previews: Mapping[str, Any],
) -> dg.MaterializeResult:
    """A materialization as Dagster records it.

    Args:
        step: that made it.
        record: of it.
        pointers: storage ids of the Dagster events of its inputs, by asset.
        seconds: that its job took.
        previews: metadata to show first.
    """
    metadata = {**previews, **_figures(step, record, seconds), **_columns(step, record)}
    return dg.MaterializeResult(
        asset_key=AssetKey(record.asset.split("/")),
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


def _columns(step: "OpenStep", record: Record) -> dict[str, Any]:
    ds = step.history.lake.open(record.ref.table, record.ref.version)
    sources = column_sources(record.asset, _own_columns(record, ds))
    return {
        "dagster/column_schema": dg.TableSchema([_shown_column(record.asset, field) for field in ds.schema]),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(AssetKey(asset.split("/")), name) for asset, name in deps]
                for column, deps in sources.items()
            }
        ),
        # The same for people: Dagster's open-source UI shows column lineage as JSON.
        "column_sources": as_metadata(
            {column: ", ".join(map(".".join, deps)) for column, deps in sources.items()} or None
        ),
    }


def _own_columns(record: Record, ds: "lance.LanceDataset") -> list[str]:
    """The columns of a table that an asset fills: several assets share the image table."""
    if "columns" not in record.metadata:
        return list(ds.schema.names)
    scorer = record.asset.split("/")[-1]
    return [*record.metadata["columns"], f"{scorer}_rev", f"{scorer}_error"]


def _shown_column(asset: str, field: "pa.Field") -> dg.TableColumn:
    description = described(asset, field.name)
    return dg.TableColumn(field.name, str(field.type), description, dg.TableColumnConstraints(field.nullable))
