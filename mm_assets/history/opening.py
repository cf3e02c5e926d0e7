"""Opening of a table that a step writes: a missing one is created, one of an earlier release is brought up."""

from collections.abc import Iterable, Mapping

import lance
import pyarrow as pa

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.schemas import bring_up, missing
from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.history.maintenance import maintained
from mm_assets.lineage.properties import RUN, SCHEMA, STEP, UPKEEP
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext


def open_table(
    tables: Lake,
    step: StepContext,
    table: str,
    schema: pa.Schema,
    assets: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
) -> lance.LanceDataset:
    """Open a table at its newest version, with all columns of this release.

    Args:
        tables: the lake.
        step: that writes it.
        table: its name.
        schema: of this release.
        assets: that the creating commit carries, where an empty table is their first version.
        extra: metadata of a new table.

    Raises:
        RefusalError: a later release made the table, or it lacks a column that cannot be added.
    """
    ds = tables.open_or_create(table, schema, step.properties(list(assets), 0), extra)
    return _brought_up(tables, step, table, schema) if missing(ds, schema) else ds


def _brought_up(tables: Lake, step: StepContext, table: str, schema: pa.Schema) -> lance.LanceDataset:
    # The commit carries no asset: no row differs, so every asset of the table keeps its data version.
    properties = {RUN: step.run_id, STEP: step.key, UPKEEP: step.run_id, SCHEMA: table}
    brought = commit(tables, table, lambda head: bring_up(head, schema), properties)
    if brought is None:  # another step did it meanwhile
        return tables.open(table)
    maintained(tables, LanceRef(table, table_id(brought), brought.version), step.run_id, step.key)
    step.log(f"{table}.lance is of an earlier release: the columns that it lacked were added, and no row changed")
    return brought
