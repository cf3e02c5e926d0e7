"""A question asked about many images, on Ray: one bad image costs one row, not a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.batches import cut
from mm_assets.engines.generators import Generator, Picture, generator_for
from mm_assets.engines.lance_commits import rows_by_key
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
# Pixels that are decoded at once, if not for a single larger image: three bytes each.
PART_PIXELS = 64_000_000


class Answerer:
    """Reads images by id and has them answered; runs as a Ray actor, with the model's files on its own node."""

    def __init__(
        self, tables: LakeTables, images: LanceRef, digest: str, question: Question, settings: PredictSettings
    ) -> None:
        self._images = LanceImages(tables, images)
        loaded = LoadedModel.load(local_folder(tables, digest), settings)
        self._generator: Generator = generator_for(question, loaded, settings)

    def __call__(self, rows: pa.Table) -> list[Answer]:
        """An answer, or an error, for each image of a part (see `parts`).

        Raises:
            RuntimeError: no image of a whole batch could be answered, so it is not the images' fault.
        """
        # A lake that does not answer ends the job; it must not become the images' errors.
        answers = self._halving(list(zip(rows["image_id"].to_pylist(), self._images.stored(rows), strict=True)))
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


def parts(rows: pa.Table, batch_size: int) -> Iterator[pa.Table]:
    """Consecutive slices of images for one forward pass, bounded by pixels too: all are decoded at once.

    Args:
        rows: `width` and `height` (of the images, in pixels), and what `Answerer` takes: `image_id`, `_rowid`.
        batch_size: images of a part, at most.
    """
    pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    return cut(rows, batch_size, pixels, PART_PIXELS)


@dataclass(frozen=True)
class AnswerJob:
    """Everything that answering images takes but the images."""

    tables: LakeTables
    cluster: Cluster
    images: LanceRef
    digest: str
    question: Question
    settings: PredictSettings

    def run(self, pieces: Sequence[pa.Table]) -> Iterator[list[Answer]]:
        """Answers of every part (see `parts`), in order, by one pool of actors."""
        arguments = (self.tables, self.images, self.digest, self.question, self.settings)
        settings = self.settings
        return self.cluster.map_ordered(Answerer, arguments, pieces, actors=settings.actors, needs=settings.resources)

    def ask(self, image_ids: list[str], progress: Progress) -> list[Answer]:
        """Answers of images by their ids, in order.

        Raises:
            KeyError: an id has no row at the pinned version.
        """
        found = rows_by_key(self.tables.open_at(self.images), "image_id", image_ids, ["width", "height"])
        places = pc.index_in(pa.array(image_ids, pa.string()), found["image_id"])
        if places.null_count:
            raise KeyError(f"{places.null_count} of {len(image_ids)} images are not in {self.images}")
        answers = self.run(list(parts(found.take(places), self.settings.batch_size)))
        return [answer for part in progress.over(answers, len) for answer in part]
