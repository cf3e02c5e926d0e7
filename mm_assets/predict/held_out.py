"""How right the newest predictions are on held-out images, beside what the evaluation said."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.curate.splits import TEST
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.lineage_table import last_records
from mm_assets.lineage.refs import Record


@dataclass(frozen=True)
class HeldOut:
    """Accuracy (0 to 1) of the predictions now, and of the same model at its evaluation; over so many examples now."""

    accuracy: float
    evaluated: float
    examples: int


def held_out_accuracy(tables: LakeTables, history: Mapping[str, Record]) -> HeldOut | None:
    """Compare the newest predictions with the labels of the held-out examples of the newest dataset.

    Returns:
        None where there is nothing to compare: no predictions of labels by the model that was evaluated last, or none
        of a held-out example.
    """
    newest = last_records(tables, list(history.values()))
    if not {"sft_dataset", "evaluation", "batch_predictions"} <= newest.keys():
        return None
    predicted, evaluated = newest["batch_predictions"], newest["evaluation"]
    said = evaluated.metadata
    if predicted.metadata["task"] != "label" or said["task"] != "label":
        return None
    if predicted.metadata["digest"] != said["challenger"]:
        return None
    right = _right(_examples(tables, newest["sft_dataset"]), _answers(tables, predicted))
    return HeldOut(pc.mean(right).as_py(), said["accuracy"], len(right)) if len(right) else None


def _examples(tables: LakeTables, dataset: Record) -> pa.Table:
    rows = tables.open_at(dataset.ref).to_table(
        columns=["images", "label"], filter=f"split = '{TEST}' and task = 'label'"
    )
    images = [image for (image,) in rows["images"].to_pylist()]
    keys = pa.array([f"{image['sha256']}:{image['image_id']}" for image in images], pa.string())
    return pa.table({"key": keys, "label": rows["label"].combine_chunks()})


def _answers(tables: LakeTables, predicted: Record) -> pa.Table:
    asked = {name: predicted.metadata[name] for name in ("digest", "prompt_digest")}
    rows = tables.open_at(predicted.ref).to_table(
        columns=["image_id", "sha256", "label"],
        filter=f"model_digest = '{asked['digest']}' and prompt_digest = '{asked['prompt_digest']}'",
    )
    keys = pc.binary_join_element_wise(rows["sha256"], rows["image_id"], ":")
    return pa.table({"key": keys, "label": rows["label"]})


def _right(examples: pa.Table, answers: pa.Table) -> pa.ChunkedArray:
    """For each example with a prediction whether it is right; one that failed is not."""
    places = pc.index_in(examples["key"], answers["key"])
    there = places.is_valid()
    given = answers["label"].take(places.filter(there))
    return pc.fill_null(pc.equal(given, examples["label"].filter(there)), False)
