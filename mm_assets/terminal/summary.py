"""The table at the end of a run: the newest materialization of every asset, and the verdict of the evaluation."""

from collections.abc import Iterable, Mapping

from rich.console import Console

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
    rows = [("asset", "data version", "rows", ""), *(_row(newest[asset]) for asset in assets if asset in newest)]
    names, versions, counts = (max(len(row[place]) for row in rows) for place in range(3))
    for name, version, count, note in rows:  # no table of rich's: in a narrow terminal it would cut the versions
        line = f" {name:{names}}  {version:{versions}}  {count:>{counts}}  {note}".rstrip()
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if EVALUATION.key in newest:
        console.print(f" {verdict_of(newest[EVALUATION.key])}", soft_wrap=True, markup=False, highlight=False)


def _row(record: Record) -> tuple[str, str, str, str]:
    return record.asset, record.data_version, f"{record.metadata['rows']:,}", note_of(record)


def note_of(record: Record) -> str:
    """What a reader should know of the rows."""
    metadata = record.metadata
    if "left_out" in metadata:
        left_out = sum(metadata["left_out"].values())
        return f"{metadata['examples']:,} examples; {left_out:,} left out, each with its reason"
    failed = metadata.get("rows_failed", 0)
    return f"{failed:,} of them {FAILED.get(record.asset, 'failed')}, each with its reason" if failed else ""
