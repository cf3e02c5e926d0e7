"""Lakes of any size, made by the project's own jobs, and the stages of a refresh.

The jobs plan, cut, write and commit as ever; only what their workers compute is made up while a lake is filled
(`MadeUp`): rows without decoding, scores by chance, answers without a model. A refresh then runs with the real workers.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import numpy as np
import pyarrow as pa
from PIL import Image

from bench.lab import pictures
from bench.lab.driver import run_step
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.sources.source import LISTING, Source
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.scoring import Scorer
from mm_assets.settings import Limit, Resources, S3Settings, ScoreSettings, Settings, load_settings
from mm_assets.stages.score.grouping import NEAR_DUPLICATES
from mm_assets.stages.score.registry import all_scorers

if TYPE_CHECKING:
    from mm_assets.engines.answering.questions import Part

SCORES = list(all_scorers(ScoreSettings()).values())
SCORED = tuple(scorer.asset for scorer in SCORES)
TINY_SIDE = 32
# Made-up scores that the local profile accepts.
RANGES = {"sharpness": (60, 200), "luminance": (60, 200), "clipped": (0, 0.4), "entropy": (5, 7)}
# Rows and bytes between two commits while a lake is filled, and the share of answers that may be missing.
FILLING = {"batch_rows": 50_000, "batch_bytes": 2**30, "error_budget": 1.0}


def tiny(count: int, seed: int = 0) -> tuple[bytes, ...]:
    """Unlike JPEGs of 32 x 32 pixels, about 1 KB."""
    rng = np.random.default_rng(seed)
    return tuple(_tiny(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in range(count))


def _tiny(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).resize((TINY_SIDE, TINY_SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


@dataclass(frozen=True)
class Made:
    """A source whose objects are made when they are read: photos in turn, each with a serial number after its end.

    Args:
        count: of objects.
        photos: of the first objects.
        first: how many these are.
        new: photos of those that came later.
    """

    count: int
    photos: tuple[bytes, ...]
    first: int
    new: tuple[bytes, ...]
    place: str = "made"

    @classmethod
    def opened(cls, setting: str, s3: S3Settings) -> Self | None:
        """See `Source`; no setting names it."""
        return None

    def list(self, _: Callable[[str], None]) -> pa.Table:
        """See `Source`."""
        ids = [pictures.image_id(number) for number in range(self.count)]
        columns = {
            "image_id": ids,
            "source_uri": [str(number) for number in range(self.count)],
            "etag": ["1"] * self.count,
            "size": self._sizes(),
            "label": [name.partition("/")[0] for name in ids],
            "caption": pa.nulls(self.count, pa.string()),
            "error": pa.nulls(self.count, pa.string()),
        }
        return pa.table(columns, schema=LISTING)

    def _sizes(self) -> np.ndarray:
        old, new = (np.array([len(photo) + 8 for photo in photos]) for photos in (self.photos, self.new))
        numbers = np.arange(self.count)
        return np.where(numbers < self.first, old[numbers % len(old)], new[(numbers - self.first) % len(new)])

    def read(self, source_uri: str, _: int) -> bytes:
        """See `Source`."""
        number = int(source_uri)
        photos, place = (self.photos, number) if number < self.first else (self.new, number - self.first)
        return pictures.serial(photos[place % len(photos)], number)


class MadeUp(Cluster):
    """In place of Ray: the workers' results without their work.

    Args:
        fails: ids of images that get no answer.
    """

    def __init__(self, fails: Callable[[str], bool] = lambda _: False) -> None:
        super().__init__()
        self._fails = fails

    def connect(self) -> None:
        """There is nothing to connect to."""

    def cpus(self) -> int:
        """One piece at a time."""
        return 1

    def map_ordered(
        self,
        worker: type[Any],
        arguments: tuple[Any, ...],
        items: Sequence[Any],
        *,
        actors: int | None = None,
        needs: Resources = Resources(),  # noqa: B008  (frozen)
    ) -> Iterator[Any]:
        """See `Cluster`."""
        if worker.__name__ == "ImageWriter":
            with mock.patch("mm_assets.stages.ingest.worker.DecodeSandbox", NoSandbox):
                return map(worker(*arguments), items)
        return map(MadeUpScorer(arguments[-1]) if worker.__name__ == "ImageScorer" else self._answers, items)

    def _answers(self, rows: pa.Table) -> "Part":
        from mm_assets.engines.answering.questions import SHARE, Answer, Part

        good = Answer("", "pool", "this is a photo of a pool.", 0.5, SHARE)
        bad = Answer("", error="made up")
        names = rows["image_id"].to_pylist()
        return Part([replace(bad if self._fails(name) else good, image_id=name) for name in names], [])


class NoSandbox:
    """In place of `DecodeSandbox`: nothing is decoded."""

    def __init__(self, _: object) -> None:
        self._sizes: dict[bytes, tuple[int, int]] = {}

    def inspect(self, data: bytes) -> Any:  # noqa: ANN401  (an ImageInfo)
        """The size in the file's head; of files that differ only in their serial number one is looked at."""
        from mm_assets.images import ImageInfo

        head = data[:-8]
        if head not in self._sizes:
            self._sizes[head] = Image.open(io.BytesIO(data)).size
        return ImageInfo("JPEG", *self._sizes[head])


class MadeUpScorer:
    """Scores by chance; hashes of 64 bits that are no near-duplicates."""

    def __init__(self, scorers: list[Scorer]) -> None:
        self._scorers, self._rng = scorers, np.random.default_rng(0)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Cells of one piece."""
        count = rows.num_rows
        cells = {name: rows[name] for name in ("_rowid", "sha256")}
        for scorer in self._scorers:
            for name, kind in scorer.types.items():
                cells[name] = pa.array(self._values(name, kind, count)).cast(kind)
            cells[scorer.rev_column] = pa.array([scorer.revision] * count)
            cells[scorer.error_column] = pa.nulls(count, pa.string())
        return pa.table(cells)

    def _values(self, name: str, kind: pa.DataType, count: int) -> np.ndarray:
        if pa.types.is_integer(kind):
            return self._rng.integers(0, 2**64, count, np.uint64)
        return self._rng.uniform(*RANGES[name], count)


def untrained(*arguments: Any) -> Any:  # noqa: ANN401  (those of `fine_tune`, and a `Trained`)
    """In place of `fine_tune`: the tiny LLaVA with other random weights."""
    from mm_assets.demo.tiny_llava import build
    from mm_assets.engines.models.files import keep_model, model_staging
    from mm_assets.engines.training.examples import Trained

    tables: Lake = arguments[1]
    with model_staging(tables) as folder:
        build(folder, seed=1)
        return Trained(*keep_model(tables, folder), {"examples": 0})


@dataclass
class MadeLake:
    """A lake, where its images come from, and what works at it.

    Each stage imports its own job alone, so that a process that runs one has no more memory than the step takes.
    """

    tables: Lake
    source: Source
    cluster: Cluster
    retry_errors: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The local profile; also a blurred picture may be an example, as those of 32 x 32 pixels are."""
        settings = load_settings()
        limits = settings.curate.limits | {"sharpness": Limit(min=0.0)}
        return settings.model_copy(update={"curate": settings.curate.model_copy(update={"limits": limits})})

    def fill(self) -> None:
        """All stages with made-up work; the model is made, not trained."""
        real, self.cluster = self.cluster, MadeUp()
        for name in (*STAGES[:4], "base_model", "sft_dataset", "llava_checkpoint", "evaluation", "predictions"):
            self.run(name)
        self.cluster = real

    def maintain(self) -> None:
        """The maintenance job."""
        from mm_assets.operations.upkeep.job import maintain

        maintain(self.tables, self.settings.upkeep, "bench", lambda _: None)

    def run(self, name: str, around: Callable[[Callable[[], Any]], Any] = lambda work: work()) -> dict[str, Record]:
        """Run one stage.

        Args:
            name: of the stage.
            around: gets the work inside the step, and calls it: to measure it.
        """
        job: Callable[[StepContext], Any] = getattr(self, f"_{name}")
        assets, inputs = GRAPH[name]
        return run_step(self.tables, lambda step: around(lambda: job(step)), *assets, inputs=inputs)

    def _filling(self, batch_size: int | None = None) -> dict[str, Any]:
        """Settings of the made-up work."""
        if not isinstance(self.cluster, MadeUp):
            return {}
        return FILLING | ({"batch_size": batch_size} if batch_size else {})

    def _listing(self, step: StepContext) -> StepResult:
        from mm_assets.stages.ingest.job import list_objects

        return list_objects(step, self.tables, self.source, "bench")

    def _ingest(self, step: StepContext) -> StepResult:
        from mm_assets.stages.ingest.job import store_images

        settings = self.settings.ingest.model_copy(update=self._filling())
        return store_images(step, self.tables, self.cluster, self.source, settings)

    def _scores(self, step: StepContext) -> dict[str, StepResult]:
        from mm_assets.stages.score.job import compute_scores

        settings = self.settings.score.model_copy(update=self._filling())
        return compute_scores(step, self.tables, self.cluster, SCORES, settings)

    def _near_duplicates(self, step: StepContext) -> StepResult:
        from mm_assets.stages.score.grouping import group_duplicates

        return group_duplicates(step, self.tables, self.settings.duplicates.max_distance)

    def _base_model(self, step: StepContext) -> StepResult:
        from mm_assets.stages.base.job import provide_base

        return provide_base(step, self.tables, self.settings.base)

    def _sft_dataset(self, step: StepContext) -> StepResult:
        from mm_assets.stages.curate.job import build_dataset

        return build_dataset(step, self.tables, self.settings.curate, SCORES)

    def _llava_checkpoint(self, step: StepContext) -> StepResult:
        from mm_assets.stages.finetune.job import train_checkpoint

        with mock.patch("mm_assets.stages.finetune.job.fine_tune", untrained):
            return train_checkpoint(step, self.tables, self.cluster, self.settings.train, force=False)

    def _evaluation(self, step: StepContext) -> StepResult:
        """In place of an evaluation of a model that was not trained: one row that names it."""
        from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA

        digest = step.inputs["llava_checkpoint"].metadata["digest"]
        final = StepResult({"rows": 1})
        row = {"id": digest, "challenger": digest, "promoted": False}
        self.tables.open_or_create(EVALUATIONS, EVALUATIONS_SCHEMA, step.properties(["evaluation"], 0))
        rows = pa.Table.from_pylist([row], schema=EVALUATIONS_SCHEMA)
        fragments = write_fragments(self.tables, EVALUATIONS, rows)
        properties = step.properties(["evaluation"], 1, {"evaluation": final})
        commit(self.tables, EVALUATIONS, lambda ds: replace_rows(ds, "id", [], fragments), properties)
        return final

    def _predictions(self, step: StepContext) -> StepResult:
        from mm_assets.stages.predict.job import predict

        settings = self.settings.predict.model_copy(update=self._filling(batch_size=10_000))
        return predict(step, self.tables, self.cluster, settings, retry_errors=self.retry_errors)


# What a refresh with the model unchanged consists of.
STAGES = ("listing", "ingest", "scores", "near_duplicates", "sft_dataset", "predictions")
# Assets and inputs of every stage.
GRAPH: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "listing": (("raw_images",), ()),
    "ingest": (("image_table",), ("raw_images",)),
    "scores": (SCORED, ("image_table",)),
    "near_duplicates": ((NEAR_DUPLICATES,), ("scores/phash",)),
    "base_model": (("base_model",), ()),
    "sft_dataset": (("sft_dataset",), ("image_table", *SCORED, NEAR_DUPLICATES, "base_model")),
    "llava_checkpoint": (("llava_checkpoint",), ("sft_dataset", "base_model")),
    "evaluation": (("evaluation",), ("llava_checkpoint",)),
    "predictions": (("batch_predictions",), ("image_table", "evaluation")),
}
