"""Questions about many images, answered by the engine that the settings name."""

from collections.abc import Iterator, Sequence
from importlib import import_module

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.answering.questions import Answer, Part
from mm_assets.engines.answering.work import AnswerJob, cut_pieces
from mm_assets.engines.lake.rows import rows_by_key
from mm_assets.pace import Pace

# The module of each engine, with a function `run` like the one below. It is heavy, and imported at first use.
ENGINES = {
    "transformers": "mm_assets.engines.answering.transformers.answerer",
    "vllm": "mm_assets.engines.answering.vllm.pipeline",
}


def run(job: AnswerJob, pieces: Sequence[pa.Table]) -> Iterator[Part]:
    """Answers to every piece (see `cut_pieces`), in order; without pieces no engine is imported."""
    if not pieces:
        return iter(())
    return import_module(ENGINES[job.settings.engine]).run(job, pieces)


def ask(job: AnswerJob, image_ids: list[str], progress: Pace) -> list[Answer]:
    """Answers to the job's first question about images, in the order of their ids.

    Raises:
        KeyError: an id has no row at the pinned version.
    """
    columns = ["sha256", "width", "height"]
    stored = rows_by_key(job.tables.open_at(job.images), "image_id", image_ids, columns)
    places = pc.index_in(pa.array(image_ids, pa.string()), stored["image_id"])
    if places.null_count:
        raise KeyError(f"{places.null_count} of {len(image_ids)} images are not in {job.images}")
    rows = stored.take(places).append_column("question", pa.repeat(0, len(image_ids)))
    done = run(job, list(cut_pieces(rows, job.settings.batch_size)))
    return [answer for part in progress.over(done, lambda part: len(part.answers)) for answer in part.answers]
