"""Questions about many images as work for an engine: the job, its pieces, and the refusal of a piece that failed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.answering.questions import Answer, Question
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.batches import cut
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PredictSettings

# Where all images of a piece of this size or more fail, the engine is at fault.
SUSPICIOUS = 4
# Pixels that are decoded at once, three bytes each; a single image may have more.
PART_PIXELS = 64_000_000


@dataclass(frozen=True)
class AnswerJob:
    """A job of answering: everything that an engine needs beside the rows of images."""

    tables: Lake
    cluster: Cluster
    images: LanceRef
    digest: str
    questions: Sequence[Question]
    settings: PredictSettings


def cut_pieces(rows: pa.Table, batch_size: int) -> Iterator[pa.Table]:
    """Cut rows into slices for one forward pass each. Pixels bound a slice too, because its images are decoded at once.

    Args:
        rows: `width` and `height` of the images in pixels, and the workers' columns: `image_id`, `sha256`, `_rowid`
            and `question` (its number).
        batch_size: images of a slice, at most.
    """
    pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    return cut(rows, batch_size, pixels, PART_PIXELS)


def refuse_if_all_failed(answers: Sequence[Answer], question_numbers: Sequence[int]) -> None:
    """Refuse a piece of work in which all answers to one question failed.

    Args:
        answers: to the rows.
        question_numbers: the number of each row's question.

    Raises:
        RuntimeError: all answers to a question failed, and there are at least `SUSPICIOUS` of them.
    """
    for number in set(question_numbers):
        of_one = [answer for answer, question in zip(answers, question_numbers, strict=True) if question == number]
        if len(of_one) >= SUSPICIOUS and all(answer.error for answer in of_one):
            raise RuntimeError(f"none of {len(of_one)} images could be answered: {of_one[0].error}")
