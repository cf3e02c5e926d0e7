"""Images to answers by vLLM: a Ray Data pipeline of renderers (CPUs) and engines (GPUs), side by side."""

import logging
import pickle
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayActorError

from mm_assets.engines.blocking_work import streamed
from mm_assets.engines.questions import Answer, Part
from mm_assets.engines.ray_tasks import Cluster, options
from mm_assets.engines.s3 import Secrets
from mm_assets.engines.usage import Usage
from mm_assets.engines.vllm_answerer import VllmAnswerer
from mm_assets.engines.vllm_engine import ENVIRONMENT, RENDERING, environment
from mm_assets.engines.vllm_renderer import Renderer
from mm_assets.engines.worker_pool import RETRIES
from mm_assets.lineage.refs import RefusalError
from mm_assets.settings import PredictSettings

if TYPE_CHECKING:
    from mm_assets.engines.answering import AnswerJob

# Pieces that an engine has in hand at once: while the last images of one are written, those of the next are read.
IN_HAND = 3


def answered(job: "AnswerJob", pieces: Sequence[pa.Table]) -> Iterator[Part]:
    """Answers of every piece, in order.

    Ray Data starts an engine (or a renderer) that died anew, and gives it again what it had in hand.

    Raises:
        RefusalError: the cluster has no CPU for a renderer beside the engines, or vLLM is not installed.
        RuntimeError: a piece ended its worker again and again.
    """
    if not pieces:
        return
    pipeline = _pipeline(job, pieces)
    found: dict[int, dict[int, Answer]] = {}
    wanted = 0
    try:
        for piece, done in streamed(lambda: _results(pipeline)):
            answers, usage = done
            found.setdefault(piece, {}).update(answers)
            while wanted < len(pieces) and len(found.get(wanted, ())) == pieces[wanted].num_rows:
                ordered = found.pop(wanted)
                yield Part([ordered[place] for place in range(len(ordered))], usage)
                wanted += 1
    except RayActorError as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(f"a piece of work ended its worker more than {RETRIES} times: {reason}") from error


def _pipeline(job: "AnswerJob", pieces: Sequence[pa.Table]) -> ray.data.Dataset:
    engines, renderers = _workers(job.cluster, job.settings)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    settings, secrets, questions = job.settings, Secrets.of_environment(), tuple(job.questions)
    blocks = [_numbered(number, piece) for number, piece in enumerate(pieces)]
    pipeline = ray.data.from_arrow(blocks).map_batches(
        Renderer,
        fn_constructor_args=(job.tables, job.images, job.digest, questions, settings, secrets),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(renderers, len(pieces))),
        num_cpus=1,
        max_task_retries=RETRIES,
        runtime_env={"env_vars": ENVIRONMENT | RENDERING},
    )
    pipeline = pipeline.map_batches(
        VllmAnswerer,
        fn_constructor_args=(job.tables, job.digest, questions, settings, secrets),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=min(engines, len(pieces)),
            max_tasks_in_flight_per_actor=IN_HAND,
            max_concurrent_calls_per_actor=IN_HAND,
            enable_true_multi_threading=True,
        ),
        max_task_retries=RETRIES,
        runtime_env={"env_vars": environment(settings)},
        **options(settings.resources),
    )
    pipeline.context.execution_options.preserve_order = True
    pipeline.context.enable_progress_bars = False
    pipeline.context.raise_original_map_exception = True
    return pipeline


def _workers(cluster: Cluster, settings: PredictSettings) -> tuple[int, int]:
    """How many engines and renderers there are to be."""
    fit = cluster.require(1, settings.resources)
    engines = min(settings.actors or (fit if settings.resources.gpus else 1), fit)
    free = int(cluster.cpus() - engines * settings.resources.cpus)
    renderers = settings.renderers or free
    if not 0 < renderers <= free:
        raise RefusalError(
            f"{engines} vLLM engines of {settings.resources.cpus:g} CPUs leave {max(free, 0)} of the Ray cluster's "
            f"{cluster.cpus()} CPUs to renderers, and {max(renderers, 1)} are wanted: lower predict.renderers, "
            "predict.actors or predict.resources.cpus, or join a larger cluster (MM_RAY_ADDRESS)"
        )
    return engines, renderers


def _numbered(number: int, piece: pa.Table) -> pa.Table:
    kept = piece.select(["image_id", "sha256", "_rowid", "question"]).combine_chunks()
    kept = kept.append_column("place", pa.array(range(kept.num_rows), pa.int64()))
    return kept.append_column("piece", pa.repeat(number, kept.num_rows))


def _results(pipeline: ray.data.Dataset) -> Iterator[tuple[int, tuple[list[tuple[int, Answer]], Usage]]]:
    for table in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in table.to_pylist():
            yield row["piece"], pickle.loads(row["done"])
