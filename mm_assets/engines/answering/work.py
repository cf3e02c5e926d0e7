"""Questions about many images as work for an engine: what it takes, its pieces, and a piece in which all failed."""

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

# A batch of this size in which every image fails speaks against the engine.
SUSPICIOUS = 4
# Pixels that are decoded at once, if not for a single larger image: three bytes each.
PART_PIXELS = 64_000_000


@dataclass(frozen=True)
class AnswerJob:
    """Everything that answering images takes but the images."""

    tables: Lake
    cluster: Cluster
    images: LanceRef
    digest: str
    questions: Sequence[Question]
    settings: PredictSettings


def cut_pieces(rows: pa.Table, batch_size: int) -> Iterator[pa.Table]:
    """Consecutive slices of images for one forward pass, bounded by pixels too: all are decoded at once.

    Args:
        rows: `width` and `height` (of the images, in pixels), and what workers take: `image_id`, `sha256`, `_rowid`
            and `question` (the number of what is asked).
        batch_size: images of a part, at most.
    """
    pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    return cut(rows, batch_size, pixels, PART_PIXELS)


def refuse_if_all_failed(answers: Sequence[Answer], question_numbers: Sequence[int]) -> None:
    """Refuse a piece of work in which everything failed, of one of its questions.

    Args:
        answers: to the rows.
        question_numbers: the number of each row's question.

    Raises:
        RuntimeError: nothing of it was answered, and there is enough of it to tell.
    """
    for number in set(question_numbers):
        of_one = [answer for answer, question in zip(answers, question_numbers, strict=True) if question == number]
        if len(of_one) >= SUSPICIOUS and all(answer.error for answer in of_one):
            raise RuntimeError(f"none of {len(of_one)} images could be answered: {of_one[0].error}")
