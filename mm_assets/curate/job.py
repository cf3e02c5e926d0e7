"""Build the SFT dataset: join the scores at their own pins, choose, word, check, and write what differs."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mm_assets.chat import assistant_message, fault, fill, user_message
from mm_assets.curate.bounds import Bound, bounds_of
from mm_assets.curate.selection import Choice, choose
from mm_assets.curate.splits import SHARES, TRAIN
from mm_assets.curate.tables import SFT, SFT_SCHEMA
from mm_assets.engines.lance_changes import sync_rows
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.model_files import local_folder
from mm_assets.engines.model_store import get
from mm_assets.engines.processors import TokenCounter
from mm_assets.lineage.refs import Final, RefusalError, Step
from mm_assets.score.scorers import Scorer
from mm_assets.settings import CurateSettings

Row = dict[str, Any]

NEAR_DUPLICATES = "scores/near_duplicates"
IMAGE_COLUMNS = ["image_id", "sha256", "width", "height", "label", "caption", "error"]


def build_dataset(step: Step, tables: LakeTables, settings: CurateSettings, scorers: Sequence[Scorer]) -> Final:
    """Bring `sft.lance` up to the pinned images, scores and base model.

    Args:
        step: what is pinned.
        tables: the lake.
        settings: tasks, bounds, labels and the longest example.
        scorers: built-in and own ones; those that the step pins are read.

    Raises:
        RefusalError: fewer than two labels are left to learn, or no caption.
    """
    bounds = bounds_of(settings, [scorer for scorer in scorers if scorer.asset in step.inputs])
    choices = choose(_joined(step, tables, bounds), settings, bounds)
    labels = sorted({choice.row["label"] for choice in choices if choice.split and choice.task.task == "label"})
    base = get(tables, step.inputs["base_model"].metadata["digest"])
    counter = TokenCounter(local_folder(tables, base.digest))
    rows = [_example(choice, labels, counter, settings.max_tokens) for choice in choices]
    _require_something_to_learn(rows)
    final = _final(rows, labels, settings)
    tables.open_or_create(SFT, SFT_SCHEMA, step.properties(["sft_dataset"], 0))
    desired = pa.Table.from_pylist(rows, schema=SFT_SCHEMA)
    properties = step.properties(["sft_dataset"], 1, {"sft_dataset": final})
    sync_rows(tables, SFT, "example_id", desired, lambda _: properties)
    return final


def _joined(step: Step, tables: LakeTables, bounds: Sequence[Bound]) -> list[Row]:
    """The images, oldest first, with the scores that belong to the same bytes, each at its own pin."""
    columns: dict[str, list[str]] = defaultdict(list)
    for bound in bounds:
        columns[bound.scorer.asset] += [bound.column, bound.scorer.rev_column, bound.scorer.error_column]
    columns[NEAR_DUPLICATES] = ["group_id", "first_group_id"]
    images = tables.open_at(step.ref("image_table"))
    rows = images.scanner(columns=IMAGE_COLUMNS, with_row_id=True).to_table()
    for asset, names in columns.items():
        scored = tables.open_at(step.ref(asset)).to_table(columns=["image_id", "sha256", *dict.fromkeys(names)])
        rows = rows.join(scored, keys=["image_id", "sha256"], join_type="left outer")
    return rows.sort_by("_rowid").drop_columns(["_rowid"]).to_pylist()


def _require_something_to_learn(rows: list[Row]) -> None:
    """A classifier needs two labels; captions alone need one to train on.

    Raises:
        RefusalError: there is not enough of it.
    """
    examples = [row for row in rows if not row["left_out"]]
    labels = {row["label"] for row in examples if row["task"] == "label"}
    if any(row["task"] == "label" for row in rows):
        if len(labels) < 2:
            found = f"one class only ({labels.pop()})" if labels else "no usable example"
            need = "a classifier needs usable images of at least two labels (a sub-folder each, or a manifest)"
            raise RefusalError(_too_few(rows, "label", found, need))
    elif not any(row["split"] == TRAIN for row in examples):
        need = "give a manifest that has captions, or the task label in curate.tasks (MM_CURATE__TASKS)"
        raise RefusalError(_too_few(rows, "caption", "no caption to train on", need))


def _too_few(rows: list[Row], task: str, found: str, need: str) -> str:
    tried = [row["left_out"] for row in rows if row["task"] == task]
    reasons = Counter(filter(None, tried)).most_common(1)
    why = "".join(f" (most often left out for: {reason}, {times} times)" for reason, times in reasons)
    return f"source (MM_SOURCE): {found} is left of {len(tried)} images{why}: {need}"


def _example(choice: Choice, labels: list[str], counter: TokenCounter, max_tokens: int) -> Row:
    row, task = choice.row, choice.task
    example = {
        "example_id": choice.example_id,
        "task": task.task,
        "images": [{"image_id": row["image_id"], "sha256": row["sha256"]}],
        "label": row["label"],
        "caption": row["caption"],
        "group_id": row["group_id"],
        "left_out": choice.left_out,
        "split": None,
    }
    if choice.split is None:
        return example
    answer = fill(task.answer, labels, **{task.task: row[task.task]})
    messages = [user_message(fill(task.prompt, labels)), assistant_message(answer)]
    wrong = fault(messages, len(example["images"]), counter.special_tokens)
    if wrong:
        return example | {"left_out": f"pre-flight: {wrong}"}
    tokens = counter.count(messages, [(row["width"], row["height"])])
    if tokens > max_tokens:
        return example | {"left_out": f"pre-flight: {tokens} tokens, max_tokens is {max_tokens}"}
    return example | {"messages": messages, "split": choice.split, "num_tokens": tokens}


def _final(rows: list[Row], labels: list[str], settings: CurateSettings) -> Final:
    splits = Counter(row["split"] for row in rows)
    reasons = Counter(row["left_out"].split(":")[0] for row in rows if row["left_out"])
    examples = Counter(row["task"] for row in rows if not row["left_out"])
    return Final(
        {
            "rows": len(rows),
            "examples": examples.total(),
            "splits": {name: splits[name] for name, _ in SHARES},
            "left_out": dict(sorted(reasons.items())),
            "labels": labels,
            "tasks": [{**task.model_dump(mode="json"), "examples": examples[task.task]} for task in settings.tasks],
            "longest_tokens": max((row.get("num_tokens", 0) for row in rows), default=0),
        }
    )
