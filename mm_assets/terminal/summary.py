"""The table at the end of a run: the newest materialization of every asset, and the verdict of the evaluation."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from mm_assets.catalog import BATCH_PREDICTIONS, EVALUATION, IMAGE_TABLE
from mm_assets.cli import verdict_of
from mm_assets.lineage.records import Record

# What is said of rows that have an error in place of a result; of others that they failed.
FAILED = {IMAGE_TABLE.key: "rejected", BATCH_PREDICTIONS.key: "without an answer"}


def print_summary(console: Console, newest: Mapping[str, Record], assets: Iterable[str]) -> None:
    """Print the table.

    Args:
        console: where.
        newest: materialization of each asset that the lake has.
        assets: in flow order.
    """
    table = Table(box=None, padding=(0, 1), collapse_padding=True)
    for name in ("asset", "data version", "rows", ""):
        table.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for asset in assets:
        if asset in newest:
            record = newest[asset]
            table.add_row(asset, record.data_version, f"{record.metadata['rows']:,}", note_of(record))
    console.print(table)
    if EVALUATION.key in newest:
        console.print(f" {verdict_of(newest[EVALUATION.key])}")


def note_of(record: Record) -> str:
    """What a reader should know of the rows."""
    metadata = record.metadata
    if "left_out" in metadata:
        left_out = sum(metadata["left_out"].values())
        return f"{metadata['examples']:,} examples; {left_out:,} left out, each with its reason"
    failed = metadata.get("rows_failed", 0)
    return f"{failed:,} of them {FAILED.get(record.asset, 'failed')}, each with its reason" if failed else ""
