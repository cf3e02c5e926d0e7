"""Images to answers by vLLM: a Ray Data pipeline of renderers (CPUs) and engines (GPUs), side by side."""

import logging
import pickle
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayActorError
from ray.util.annotations import RayDeprecationWarning

from mm_assets.engines.blocking_work import streamed
from mm_assets.engines.questions import Answer, Part
from mm_assets.engines.ray_tasks import Cluster, options
from mm_assets.engines.s3 import Secrets
from mm_assets.engines.usage import Usage
from mm_assets.engines.vllm_answerer import VllmAnswerer
from mm_assets.engines.vllm_engine import ENVIRONMENT, RENDERING, environment, require_vllm
from mm_assets.engines.vllm_renderer import Renderer
from mm_assets.engines.worker_pool import RETRIES
from mm_assets.lineage.refs import RefusalError
from mm_assets.settings import PredictSettings

if TYPE_CHECKING:
    from mm_assets.engines.answering import AnswerJob

# Pieces that an engine has in hand at once: while the last images of one are written, those of the next are read.
IN_HAND = 3
# Pieces that Ray Data gives to a renderer together, at most; fewer, so that each renderer gets so many shares.
MOST_PIECES, SHARES = 64, 8
# Prepared images that travel to an engine together: tens of photos, or some hundred tiny pictures.
BLOCK_BYTES = 32 * 2**20


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
        for answers, usage in streamed(lambda: _results(pipeline)):
            for piece, place, answer in answers:
                found.setdefault(piece, {})[place] = answer
            while wanted < len(pieces) and len(found.get(wanted, ())) == pieces[wanted].num_rows:
                ordered = found.pop(wanted)
                yield Part([ordered[place] for place in range(len(ordered))], usage)
                wanted += 1
    except RayActorError as error:
        raise _explained(error) from None


def _explained(error: RayActorError) -> Exception:
    """What ended a worker for good, as a sentence; Ray gives what its constructor raised as the last line of a text."""
    if not error.actor_init_failed:
        return RuntimeError(
            f"a piece of work ended its worker more than {RETRIES} times: {' '.join(str(error).split())}"
        )
    kind, _, said = str(error).strip().splitlines()[-1].partition(": ")
    return RefusalError(said) if kind.endswith(RefusalError.__name__) else RuntimeError(f"{kind}: {said}")


def _pipeline(job: "AnswerJob", pieces: Sequence[pa.Table]) -> ray.data.Dataset:
    if job.cluster.embedded:
        require_vllm()  # its workers would say so too, when they have started
    engines, renderers = _workers(job.cluster, job.settings)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settings, secrets, questions = job.settings, Secrets.of_environment(), tuple(job.questions)
    blocks = list(_blocks(pieces, renderers))
    whole = {"batch_size": None, "batch_format": "pyarrow", "max_task_retries": RETRIES}
    with warnings.catch_warnings():
        # Ray 2.60 has no named parameter for what bounds the retries: a piece that ends every worker would never end.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        prepared = ray.data.from_arrow(blocks).map_batches(
            Renderer,
            fn_constructor_args=(job.tables, job.images, job.digest, questions, settings, secrets),
            compute=ray.data.ActorPoolStrategy(size=min(renderers, len(blocks))),
            num_cpus=1,
            runtime_env={"env_vars": ENVIRONMENT | RENDERING},
            **whole,
        )
        pipeline = prepared.map_batches(
            VllmAnswerer,
            fn_constructor_args=(job.tables, job.digest, questions, settings, secrets),
            compute=ray.data.ActorPoolStrategy(
                size=min(engines, len(pieces)),
                max_tasks_in_flight_per_actor=IN_HAND,
                max_concurrent_calls_per_actor=IN_HAND,
                enable_true_multi_threading=True,
            ),
            runtime_env={"env_vars": environment(settings)},
            **options(settings.resources),
            **whole,
        )
    context = pipeline.context
    context.execution_options.preserve_order = True
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    context.max_consecutive_actor_init_deaths = RETRIES  # a GPU's memory may still be its dead predecessor's
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


def _blocks(pieces: Sequence[pa.Table], renderers: int) -> Iterator[pa.Table]:
    """Consecutive pieces together: Ray Data keeps account of every block, and there may be a million of pieces."""
    size = min(max(len(pieces) // (renderers * SHARES), 1), MOST_PIECES)
    for start in range(0, len(pieces), size):
        numbers = range(start, min(start + size, len(pieces)))
        yield pa.concat_tables(_numbered(number, pieces[number]) for number in numbers).combine_chunks()


def _numbered(number: int, piece: pa.Table) -> pa.Table:
    kept = piece.select(["image_id", "sha256", "_rowid", "question"])
    kept = kept.append_column("place", pa.array(range(kept.num_rows), pa.int64()))
    return kept.append_column("piece", pa.repeat(number, kept.num_rows))


def _results(pipeline: ray.data.Dataset) -> Iterator[tuple[list[tuple[int, int, Answer]], Usage]]:
    for table in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in table.to_pylist():
            yield pickle.loads(row["done"])
