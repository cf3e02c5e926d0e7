"""Joins images with the answers of one model and prompt to the same bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.lineage.records import Record

if TYPE_CHECKING:
    import lance


def join_answers(
    predictions: "lance.LanceDataset", record: Record, images: pa.Table, columns: Sequence[str]
) -> pa.Table:
    """The answers of a materialization's model and prompt to some images, in the order of the table.

    Args:
        predictions: the table at that materialization.
        record: the record of the materialization of `batch_predictions`.
        images: `image_id` (unique), `sha256` and any other columns.
        columns: columns of the predictions to read.

    Returns:
        The columns of the predictions, and those of `images` as `of_<name>`.
    """
    model, prompt = record.metadata["digest"], record.metadata["prompt_digest"]
    condition = f"answer is not null and model_digest = '{model}' and prompt_digest = '{prompt}'"
    names = list(dict.fromkeys([*columns, "image_id", "sha256"]))
    answers = predictions.scanner(columns=names, filter=condition).to_table()
    places = pc.index_in(answers["image_id"], images["image_id"])
    same = pc.fill_null(pc.equal(images["sha256"].take(places), answers["sha256"]), False)
    answers, matched = answers.filter(same), images.take(places.filter(same))
    for name in images.schema.names:
        answers = answers.append_column(f"of_{name}", matched[name])
    return answers
