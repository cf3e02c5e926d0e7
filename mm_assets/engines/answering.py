"""A question asked about many images, on Ray: one bad image costs one row, not a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mm_assets.engines.generators import Generator, Picture, generator_for
from mm_assets.engines.lance_images import LanceImages
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.loaded_model import LoadedModel
from mm_assets.engines.model_files import local_folder
from mm_assets.engines.progress import Progress
from mm_assets.engines.questions import Answer, Question
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.images import decode
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PILLOW_MAX_PIXELS, PredictSettings

# A batch of this size in which every image fails speaks against the engine.
SUSPICIOUS = 4


class Answerer:
    """Reads images by id and has them answered; runs as a Ray actor, with the model's files on its own node."""

    def __init__(
        self, tables: LakeTables, images: LanceRef, digest: str, question: Question, settings: PredictSettings
    ) -> None:
        self._images = LanceImages(tables, images)
        loaded = LoadedModel.load(local_folder(tables, digest), settings)
        self._generator: Generator = generator_for(question, loaded, settings)

    def __call__(self, image_ids: list[str]) -> list[Answer]:
        """An answer, or an error, for each image.

        Raises:
            RuntimeError: no image of a whole batch could be answered, so it is not the images' fault.
        """
        # A lake that does not answer ends the job; it must not become the images' errors.
        answers = self._halving(list(zip(image_ids, self._images.stored(image_ids), strict=True)))
        if len(answers) >= SUSPICIOUS and all(answer.error for answer in answers):
            raise RuntimeError(f"none of {len(answers)} images could be answered: {answers[0].error}")
        return answers

    def _halving(self, stored: list[tuple[str, bytes]]) -> list[Answer]:
        try:
            pictures = [Picture(image_id, decode(data, PILLOW_MAX_PIXELS)[0]) for image_id, data in stored]
            return self._generator.answer(pictures)
        except Exception as error:  # noqa: BLE001  (whatever one row does becomes that row's error)
            reason = f"{type(error).__name__}: {error}"
        # Outside of the except block: there the traceback would keep the failed batch's tensors in memory.
        if len(stored) == 1:
            return [Answer(stored[0][0], error=reason)]
        half = len(stored) // 2
        return [*self._halving(stored[:half]), *self._halving(stored[half:])]


@dataclass(frozen=True)
class AnswerJob:
    """Everything that answering images takes but the images."""

    tables: LakeTables
    cluster: Cluster
    images: LanceRef
    digest: str
    question: Question
    settings: PredictSettings

    def run(self, batches: Sequence[Sequence[str]], progress: Progress) -> Iterator[list[Answer]]:
        """Answer batches of image ids with one pool of actors; gives the answers of each batch, all in order."""
        size = self.settings.batch_size
        parts = [[list(batch[start : start + size]) for start in range(0, len(batch), size)] for batch in batches]
        results = self.cluster.map_batches(
            Answerer,
            (self.tables, self.images, self.digest, self.question, self.settings),
            parts,
            lambda answers: progress.add(len(answers)),
            actors=self.settings.actors,
            needs=self.settings.resources,
        )
        for answers in results:
            yield [answer for part in answers for answer in part]
