"""Build the SFT dataset: join the scores at their own pins, choose, word, check, and write what differs."""

from collections import Counter
from typing import Any

import pyarrow as pa

from mm_assets.chat import assistant_message, fault, fill, user_message
from mm_assets.curate.selection import Choice, choose
from mm_assets.curate.splits import SHARES
from mm_assets.curate.tables import SFT, SFT_SCHEMA
from mm_assets.engines.lance_tables import LakeTables, sync_rows
from mm_assets.engines.model_store import get
from mm_assets.engines.processors import TokenCounter
from mm_assets.lineage.refs import Final, RefusalError, Step
from mm_assets.score.scorers import SCORERS
from mm_assets.settings import CurateSettings

# What the choice reads of each scorer's columns, at that scorer's own pin.
SCORES = {
    **{scorer.asset: [*scorer.columns, scorer.rev_column, scorer.error_column] for scorer in SCORERS.values()},
    "scores/near_duplicates": ["group_id", "first_group_id"],
}
IMAGE_COLUMNS = ["image_id", "sha256", "width", "height", "label", "error"]


def build_dataset(step: Step, tables: LakeTables, settings: CurateSettings) -> Final:
    """Bring `sft.lance` up to the pinned images, scores and base model.

    Raises:
        RefusalError: fewer than two classes are left to train on.
    """
    choices = choose(_joined(step, tables), settings)
    labels = sorted({choice.row["label"] for choice in choices if choice.split})
    base = get(tables, step.inputs["base_model"].metadata["digest"])
    counter = TokenCounter(tables.model_dir(base.digest))
    rows = [_example(choice, labels, counter, settings) for choice in choices]
    if len({row["label"] for row in rows if not row["left_out"]}) < 2:
        raise RefusalError(_too_few(rows))
    final = _final(rows, labels, settings)
    ds = tables.open_or_create(SFT, SFT_SCHEMA, step.properties(["sft_dataset"], 0))
    desired = pa.Table.from_pylist(rows, schema=SFT_SCHEMA)
    sync_rows(tables, ds, SFT, "example_id", desired, step.properties(["sft_dataset"], 1, {"sft_dataset": final}))
    return final


def _joined(step: Step, tables: LakeTables) -> list[dict[str, Any]]:
    """The images, oldest first, with the scores that belong to the same bytes."""
    images = tables.open_at(step.ref("image_table"))
    rows = images.scanner(columns=IMAGE_COLUMNS, with_row_id=True).to_table()
    for asset, columns in SCORES.items():
        if asset not in step.inputs:
            continue
        scored = tables.open_at(step.ref(asset)).to_table(columns=["image_id", "sha256", *columns])
        rows = rows.join(scored, keys=["image_id", "sha256"], join_type="left outer")
    return rows.sort_by("_rowid").drop_columns(["_rowid"]).to_pylist()


def _too_few(rows: list[dict[str, Any]]) -> str:
    labels = {row["label"] for row in rows if not row["left_out"]}
    found = f"one class only ({labels.pop()})" if labels else "no usable example"
    reasons = Counter(row["left_out"] for row in rows if row["left_out"]).most_common(1)
    why = "".join(f" (most often left out for: {reason}, {times} times)" for reason, times in reasons)
    return (
        f"source (MM_SOURCE): {found} is left of {len(rows)} images{why}: a classifier needs at least two "
        "sub-folders of usable images, one per label"
    )


def _example(choice: Choice, labels: list[str], counter: TokenCounter, settings: CurateSettings) -> dict[str, Any]:
    row = choice.row
    example = {
        "example_id": row["image_id"],
        "images": [{"image_id": row["image_id"], "sha256": row["sha256"]}],
        "label": row["label"],
        "group_id": row["group_id"],
        "left_out": choice.left_out,
    }
    if choice.split is None:
        return example
    answer = fill(settings.answer, labels, row["label"])
    messages = [user_message(fill(settings.prompt, labels)), assistant_message(answer)]
    wrong = fault(messages, len(example["images"]), counter.special_tokens)
    if wrong:
        return example | {"left_out": f"pre-flight: {wrong}"}
    tokens = counter.count(messages, [(row["width"], row["height"])])
    if tokens > settings.max_tokens:
        return example | {"left_out": f"pre-flight: {tokens} tokens, max_tokens is {settings.max_tokens}"}
    return example | {"messages": messages, "split": choice.split, "num_tokens": tokens}


def _final(rows: list[dict[str, Any]], labels: list[str], settings: CurateSettings) -> Final:
    splits = Counter(row.get("split") for row in rows)
    reasons = Counter(row["left_out"].split(":")[0] for row in rows if row["left_out"])
    return Final(
        {
            "rows": len(rows),
            "examples": len(rows) - reasons.total(),
            "splits": {name: splits[name] for name, _ in SHARES},
            "left_out": dict(sorted(reasons.items())),
            "labels": labels,
            "prompt": settings.prompt,
            "answer": settings.answer,
            "longest_tokens": max((row.get("num_tokens", 0) for row in rows), default=0),
        }
    )
