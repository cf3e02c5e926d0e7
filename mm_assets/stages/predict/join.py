"""The predictions that answer for given images: of one model and prompt, to the very bytes."""

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
    """Answers of the model and the prompt of a materialization, in the order of the table.

    Args:
        predictions: the table at that materialization.
        record: of `batch_predictions`.
        images: `image_id` and `sha256`, and what else is wanted of each image; ids are unique.
        columns: to read of the predictions.

    Returns:
        The columns, and those of `images` as `of_<name>`.
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
