"""The summary of the dataset, from a few columns of all its rows; and whether there is something to learn."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.judging.statistics import count_values
from mm_assets.reasons import reasons
from mm_assets.settings import CurateSettings, TaskName
from mm_assets.splits import SHARES, TRAIN
from mm_assets.stages.curate.examples import PRE_FLIGHT
from mm_assets.stages.curate.selection import NO_IMAGE, NOT_CHOSEN

# The columns that everything here is computed from.
COUNTED = ["task", "label", "split", "left_out", "num_tokens"]


def labels_of(rows: pa.Table) -> list[str]:
    """The labels of all images chosen for the task `label`, also of those that pre-flight left out."""
    named = of_task(rows, "label")
    chosen = pc.or_(pc.is_null(named["left_out"]), left_out_by_pre_flight(named))
    chosen_labels: list[str] = sorted(pc.unique(named["label"].filter(chosen)).to_pylist())
    return chosen_labels


def labels_at_hand(rows: pa.Table) -> list[str]:
    """The labels to learn that images have; rejected images and labels outside `curate.labels` do not count."""
    named = of_task(rows, "label")
    named = named.filter(pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(named["label"], "")), ""))
    out = pc.fill_null(pc.is_in(reasons(named["left_out"]), pa.array([NO_IMAGE, NOT_CHOSEN])), False)
    learned_labels: list[str] = sorted(pc.unique(named["label"].filter(pc.invert(out))).to_pylist())
    return learned_labels


def summary(rows: pa.Table, settings: CurateSettings) -> dict[str, object]:
    """Counts of `COUNTED` rows, as JSON values."""
    examples = rows.filter(pc.is_null(rows["left_out"]))
    splits, tasks = count_values(examples["split"]), count_values(examples["task"])
    left_out = count_values(reasons(rows["left_out"].drop_null()))
    return {
        "rows": rows.num_rows,
        "examples": examples.num_rows,
        "splits": {name: splits[name] for name, _ in SHARES},
        "left_out": dict(sorted(left_out.items())),
        "labels": labels_of(rows),
        "tasks": [{**task.model_dump(mode="json"), "examples": tasks[task.task]} for task in settings.tasks],
        "longest_tokens": pc.max(rows["num_tokens"]).as_py() or 0,
        "rows_failed": pc.sum(left_out_by_pre_flight(rows)).as_py() or 0,
    }


def can_learn(rows: pa.Table) -> bool:
    """Whether there is something to learn: two labels, or a caption to train on where captions are the only task."""
    examples = rows.filter(pc.is_null(rows["left_out"]))
    if of_task(rows, "label").num_rows:
        return len(pc.unique(of_task(examples, "label")["label"])) > 1
    return bool(pc.any(pc.equal(examples["split"], TRAIN)).as_py())


def too_few_to_learn(rows: pa.Table) -> str | None:
    """Why there is nothing to learn, and what to do, in a sentence; None where there is (see `can_learn`)."""
    if can_learn(rows):
        return None
    if of_task(rows, "label").num_rows:
        examples = rows.filter(pc.is_null(rows["left_out"]))
        labels = pc.unique(of_task(examples, "label")["label"]).to_pylist()
        instead = f"one class only ({labels[0]})" if labels else "no usable example"
        need = "a classifier needs usable images of at least two labels (a sub-folder each, or a manifest)"
        return _too_few(rows, "label", instead, need)
    need = "give a manifest that has captions, or the task label in curate.tasks (MM_CURATE__TASKS)"
    return _too_few(rows, "caption", "no caption to train on", need)


def _too_few(rows: pa.Table, task: TaskName, instead: str, need: str) -> str:
    tried = of_task(rows, task)
    often = most_often(tried["left_out"])
    why = f" (most often left out for: {often})" if often else ""
    return f"source (MM_SOURCE): {instead} is left of {tried.num_rows} images{why}: {need}"


def most_often(left_out: pa.ChunkedArray) -> str:
    """The most frequent kind of reason in words, with its count; "" where there is none."""
    texts = left_out.drop_null()
    most_common = by_kind(texts).most_common(1)
    return "".join(f"{text}, {times:,} times" for text, times in most_common)


def by_kind(left_out: pa.ChunkedArray) -> Counter[str]:
    """How often each kind of reason occurs, by its first text; texts of one kind differ in names and figures."""
    table = pa.table({"text": left_out, "kind": reasons(left_out)})
    # Pre-flight is one reason with many details, so the detail without its figures is the kind.
    kind = pc.if_else(_is_pre_flight(left_out), pc.replace_substring_regex(left_out, "[0-9]+", "0"), table["kind"])
    counts = (
        table.set_column(1, "kind", kind)
        .group_by("kind", use_threads=False)
        .aggregate([("text", "first"), ("text", "count")])
    )
    return Counter(dict(zip(counts["text_first"].to_pylist(), counts["text_count"].to_pylist(), strict=True)))


def of_task(rows: pa.Table, task: TaskName) -> pa.Table:
    """Rows of one task."""
    return rows.filter(pc.equal(rows["task"], task))


def left_out_by_pre_flight(rows: pa.Table) -> pa.ChunkedArray:
    """Which rows were chosen, and then left out by pre-flight for their words or their length."""
    return _is_pre_flight(rows["left_out"])


def _is_pre_flight(left_out: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.starts_with(left_out, f"{PRE_FLIGHT}: "), False)
