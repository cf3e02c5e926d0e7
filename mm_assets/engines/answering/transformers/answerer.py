"""Answers by transformers: a pool of Ray actors, each with a model of its own; one bad image costs one row."""

import time
import uuid
from collections.abc import Iterator, Sequence

import pyarrow as pa

from mm_assets.engines.answering.pictures import Picture, decode_pictures
from mm_assets.engines.answering.questions import Answer, Part, Question
from mm_assets.engines.answering.transformers.generators import Generator, generator_for
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.engines.answering.usage import Usage
from mm_assets.engines.answering.work import AnswerJob, refuse_if_all_failed
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PredictSettings


def run(job: AnswerJob, pieces: Sequence[pa.Table]) -> Iterator[Part]:
    """Answers to every piece, in order, by one pool of workers."""
    settings = job.settings
    arguments = (job.tables, job.images, job.digest, tuple(job.questions), settings)
    actors = settings.actors or (None if settings.resources.gpus else 1)
    return job.cluster.map_ordered(Answerer, arguments, pieces, actors=actors, needs=settings.resources)


class Answerer:
    """A Ray actor that reads images by id and answers questions about them; the model's files are on its node."""

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
        """Answer each row of a piece (see `cut_pieces`), or say why it failed.

        Raises:
            RuntimeError: no row of the piece could be answered, so the engine is at fault and not the images.
        """
        # A lake that does not answer raises here and ends the job: it is no error of the images.
        decoded = decode_pictures(rows, self._images.stored(rows))
        answers = {place: item for place, item in enumerate(decoded) if isinstance(item, Answer)}
        numbers = rows["question"].to_pylist()
        for number, generator in enumerate(self._generators):
            places = [place for place, item in enumerate(decoded) if numbers[place] == number and place not in answers]
            for start in range(0, len(places), self._batch_size):
                chosen = places[start : start + self._batch_size]
                pictures_of = [item for place in chosen if isinstance(item := decoded[place], Picture)]
                answers |= zip(chosen, self._halving(generator, pictures_of), strict=True)
        ordered = [answers[place] for place in range(len(decoded))]
        refuse_if_all_failed(ordered, numbers)
        return Part(ordered, [self._usage()])

    def _halving(self, generator: Generator, pictures: Sequence[Picture]) -> list[Answer]:
        since, prepared = time.monotonic(), self._loaded.counted.preparing_s
        try:
            return generator.answer(pictures)
        except Exception as error:  # noqa: BLE001  (a row's exception becomes that row's error)
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._computing_s += time.monotonic() - since - (self._loaded.counted.preparing_s - prepared)
        # Not inside the except block: there the traceback would keep the failed batch's tensors in memory.
        if len(pictures) == 1:
            return [Answer(pictures[0].image_id, error=reason)]
        half = len(pictures) // 2
        return [*self._halving(generator, pictures[:half]), *self._halving(generator, pictures[half:])]

    def _usage(self) -> Usage:
        run_s, counted = time.monotonic() - self._ready, self._loaded.counted
        waited_s = max(run_s - self._computing_s, 0.0)  # the time in which this worker reads, decodes and prepares
        return Usage(self._worker, self._start_s, run_s, waited_s, counted.prompt_tokens, counted.output_tokens)
