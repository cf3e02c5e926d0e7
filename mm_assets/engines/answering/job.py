"""A question asked about many images, on Ray: one bad image costs one row, not a batch."""

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.answering.questions import Answer, Part, Question
from mm_assets.engines.answering.transformers.generators import Generator, Picture, generator_for
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.engines.answering.usage import Usage
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.rows import rows_by_key
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.workers.batches import cut
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.images import decode
from mm_assets.lineage.refs import LanceRef
from mm_assets.pace import Pace
from mm_assets.settings import PILLOW_MAX_PIXELS, PredictSettings

# A batch of this size in which every image fails speaks against the engine.
SUSPICIOUS = 4
# Pixels that are decoded at once, if not for a single larger image: three bytes each.
PART_PIXELS = 64_000_000


class Answerer:
    """Reads images by id and has them answered; runs as a Ray actor, with the model's files on its own node."""

    def __init__(
        self,
        tables: Lake,
        images: LanceRef,
        digest: str,
        questions: Sequence[Question],
        settings: PredictSettings,
    ) -> None:
        began = time.monotonic()
        self._images = LanceImages(tables, images)
        self._loaded = LoadedModel.load(local_folder(tables, digest), settings)
        self._generators: list[Generator] = [generator_for(question, self._loaded, settings) for question in questions]
        self._worker, self._computing_s, self._batch_size = uuid.uuid4().hex, 0.0, settings.batch_size
        self._ready = time.monotonic()
        self._start_s = self._ready - began

    def __call__(self, rows: pa.Table) -> Part:
        """An answer, or an error, for each row of a piece (see `parts`).

        Raises:
            RuntimeError: no row of a whole piece could be answered, so it is not the images' fault.
        """
        # A lake that does not answer ends the job; it must not become the images' errors.
        found = pictures(rows, self._images.stored(rows))
        answers = {place: item for place, item in enumerate(found) if isinstance(item, Answer)}
        asked = rows["question"].to_pylist()
        for number, generator in enumerate(self._generators):
            places = [place for place, item in enumerate(found) if asked[place] == number and place not in answers]
            for start in range(0, len(places), self._batch_size):
                chosen = places[start : start + self._batch_size]
                pictures_of = [item for place in chosen if isinstance(item := found[place], Picture)]
                answers |= zip(chosen, self._halving(generator, pictures_of), strict=True)
        ordered = [answers[place] for place in range(len(found))]
        require_some(ordered, asked)
        return Part(ordered, [self._usage()])

    def _halving(self, generator: Generator, pictures: Sequence[Picture]) -> list[Answer]:
        since, prepared = time.monotonic(), self._loaded.counted.preparing_s
        try:
            return generator.answer(pictures)
        except Exception as error:  # noqa: BLE001  (whatever one row does becomes that row's error)
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._computing_s += time.monotonic() - since - (self._loaded.counted.preparing_s - prepared)
        # Outside of the except block: there the traceback would keep the failed batch's tensors in memory.
        if len(pictures) == 1:
            return [Answer(pictures[0].image_id, error=reason)]
        half = len(pictures) // 2
        return [*self._halving(generator, pictures[:half]), *self._halving(generator, pictures[half:])]

    def _usage(self) -> Usage:
        run_s, counted = time.monotonic() - self._ready, self._loaded.counted
        waited_s = max(run_s - self._computing_s, 0.0)  # it reads, decodes and prepares by itself meanwhile
        return Usage(self._worker, self._start_s, run_s, waited_s, counted.prompt_tokens, counted.output_tokens)


def pictures(rows: pa.Table, stored: Sequence[bytes]) -> list[Picture | Answer]:
    """The image of each row, decoded once also where it is asked several questions, or an answer that says why not.

    Args:
        rows: `image_id` and `_rowid`.
        stored: the files' bytes, in the order of the rows.
    """
    known: dict[int, Picture | Answer] = {}
    for row_id, image_id, data in zip(rows["_rowid"].to_pylist(), rows["image_id"].to_pylist(), stored, strict=True):
        if row_id not in known:
            known[row_id] = _decoded(image_id, data)
    return [known[row_id] for row_id in rows["_rowid"].to_pylist()]


def _decoded(image_id: str, data: bytes) -> Picture | Answer:
    try:
        return Picture(image_id, decode(data, PILLOW_MAX_PIXELS)[0])
    except Exception as error:  # noqa: BLE001  (Pillow raises what it likes; it becomes the row's error)
        return Answer(image_id, error=f"{type(error).__name__}: {error}")


def require_some(answers: Sequence[Answer], asked: Sequence[int]) -> None:
    """Refuse a piece of work in which everything failed, of one of its questions.

    Args:
        answers: to the rows.
        asked: the number of each row's question.

    Raises:
        RuntimeError: nothing of it was answered, and there is enough of it to tell.
    """
    for number in set(asked):
        of_one = [answer for answer, question in zip(answers, asked, strict=True) if question == number]
        if len(of_one) >= SUSPICIOUS and all(answer.error for answer in of_one):
            raise RuntimeError(f"none of {len(of_one)} images could be answered: {of_one[0].error}")


def parts(rows: pa.Table, batch_size: int) -> Iterator[pa.Table]:
    """Consecutive slices of images for one forward pass, bounded by pixels too: all are decoded at once.

    Args:
        rows: `width` and `height` (of the images, in pixels), and what workers take: `image_id`, `sha256`, `_rowid`
            and `question` (the number of what is asked).
        batch_size: images of a part, at most.
    """
    pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    return cut(rows, batch_size, pixels, PART_PIXELS)


@dataclass(frozen=True)
class AnswerJob:
    """Everything that answering images takes but the images."""

    tables: Lake
    cluster: Cluster
    images: LanceRef
    digest: str
    questions: Sequence[Question]
    settings: PredictSettings

    def run(self, pieces: Sequence[pa.Table]) -> Iterator[Part]:
        """Answers of every piece (see `parts`), in order, by one pool of workers."""
        settings = self.settings
        if settings.engine == "vllm":
            from mm_assets.engines.answering.vllm.pipeline import answered

            return answered(self, pieces)
        arguments = (self.tables, self.images, self.digest, tuple(self.questions), settings)
        actors = settings.actors or (None if settings.resources.gpus else 1)
        return self.cluster.map_ordered(Answerer, arguments, pieces, actors=actors, needs=settings.resources)

    def ask(self, image_ids: list[str], progress: Pace) -> list[Answer]:
        """Answers to the first question about images by their ids, in order.

        Raises:
            KeyError: an id has no row at the pinned version.
        """
        columns = ["sha256", "width", "height"]
        found = rows_by_key(self.tables.open_at(self.images), "image_id", image_ids, columns)
        places = pc.index_in(pa.array(image_ids, pa.string()), found["image_id"])
        if places.null_count:
            raise KeyError(f"{places.null_count} of {len(image_ids)} images are not in {self.images}")
        rows = found.take(places).append_column("question", pa.repeat(0, len(image_ids)))
        done = self.run(list(parts(rows, self.settings.batch_size)))
        return [answer for part in progress.over(done, lambda part: len(part.answers)) for answer in part.answers]
