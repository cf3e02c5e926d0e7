"""A step opens a table that it writes: made where it is missing, brought up where an earlier release made it."""

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
    """The newest version of a table, with all columns of this release.

    Args:
        tables: the lake.
        step: that writes it.
        table: its name.
        schema: as this release has it.
        assets: those that stand for a table without rows.
        extra: metadata of a table that is made.

    Raises:
        RefusalError: a release that this one does not know made the table, or it lacks what cannot be added.
    """
    ds = tables.open_or_create(table, schema, step.properties(list(assets), 0), extra)
    return _brought_up(tables, step, table, schema) if missing(ds, schema) else ds


def _brought_up(tables: Lake, step: StepContext, table: str, schema: pa.Schema) -> lance.LanceDataset:
    # No asset's: no row differs, and every asset of the table is at the data version that it was at.
    properties = {RUN: step.run_id, STEP: step.key, UPKEEP: step.run_id, SCHEMA: table}
    brought = commit(tables, table, lambda head: bring_up(head, schema), properties)
    if brought is None:  # another step did it meanwhile
        return tables.open(table)
    maintained(tables, LanceRef(table, table_id(brought), brought.version), step.run_id, step.key)
    step.log(f"{table}.lance, of an earlier release, was given the columns that it lacked: no row differs")
    return brought
