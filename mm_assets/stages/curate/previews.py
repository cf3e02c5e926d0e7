"""Previews of the dataset: its classes by split, what was left out and why, and an example of each task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.previews import plots, rows
from mm_assets.previews.markdown import escaped, table
from mm_assets.reasons import reasons
from mm_assets.splits import SHARES, TRAIN

if TYPE_CHECKING:
    import lance

    from mm_assets.history.materialized import Materialized

MAX_LABELS, MAX_REASONS = 30, 20
MAX_TEXT = 600
SPLITS = [name for name, _ in SHARES]
LABEL = "label"


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of `sft_dataset`."""
    ds = materialized.ds
    dataset = ds.scanner(columns=[LABEL, "split", "left_out", "task"], with_row_id=True).to_table()
    examples = dataset.filter(pc.is_null(dataset["left_out"]))
    left_out = dataset.filter(pc.is_valid(dataset["left_out"]))
    pictures = {"preview_balance": _balance(examples)}
    if left_out.num_rows:
        pictures["preview_left_out"] = _left_out(left_out)
    if examples.num_rows:
        pictures["preview_example"] = "\n\n".join(_example(ds, examples, task) for task in _tasks(examples))
    return pictures


def _tasks(chosen: pa.Table) -> list[str]:
    """The tasks of some rows, the label first."""
    return sorted(pc.unique(chosen["task"]).drop_null().to_pylist(), key=lambda task: (task != LABEL, task))


def _of(chosen: pa.Table, column: str, value: str) -> pa.Table:
    return chosen.filter(pc.equal(chosen[column], value))


def _balance(examples: pa.Table) -> str:
    """Labels by split as bars, and every task by split as a table."""
    labelled = _of(examples, "task", LABEL)
    top, others = rows.largest(labelled[LABEL], MAX_LABELS)
    named = [name for name, _ in (top[:-1] if others else top)]
    parts = {split: _counts(_of(labelled, "split", split)[LABEL], named, others > 0) for split in SPLITS}
    bars = plots.stacked("Examples by label and split", [name for name, _ in top], parts, "examples", 12_000)
    lines = [[task, *rows.counts_of(_of(examples, "task", task)["split"], SPLITS)] for task in _tasks(examples)]
    return f"{bars}\n\n{table(['examples of the task', *SPLITS], lines)}"


def _counts(column: pa.ChunkedArray, named: Sequence[str], others: bool) -> list[int]:
    counts = rows.counts_of(column, named)
    return [*counts, len(column) - sum(counts)] if others else counts


def _left_out(left_out: pa.Table) -> str:
    tasks = _tasks(left_out)
    top, others = rows.largest(reasons(left_out["left_out"]), MAX_REASONS)
    named = [name for name, _ in (top[:-1] if others else top)]
    columns = [_counts(reasons(_of(left_out, "task", task)["left_out"]), named, others > 0) for task in tasks]
    return table(
        ["left out because", *(f"of {task}" for task in tasks)], list(zip((n for n, _ in top), *columns, strict=True))
    )


def _example(ds: "lance.LanceDataset", examples: pa.Table, task: str) -> str:
    """The first example of a task as roles and texts; from the training split where that has one."""
    of_task = _of(examples, "task", task)
    trained = _of(of_task, "split", TRAIN)
    first = pc.min((trained if trained.num_rows else of_task)["_rowid"]).as_py()
    (example,) = rows.take(ds, [first], ["example_id", "messages"])
    lines = [[message["role"], _message_text(message)] for message in example["messages"] or []]
    return f"{escaped(example['example_id'])}\n\n{table(['role', 'text'], lines, cell=MAX_TEXT)}"


def _message_text(message: dict[str, Any]) -> str:
    return " ".join("[image]" if part["type"] == "image" else part["text"] or "" for part in message["content"] or [])
