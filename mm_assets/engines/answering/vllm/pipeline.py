"""Images to answers by vLLM: a Ray Data pipeline of renderers (CPUs) and engines (GPUs), side by side."""

import logging
import pickle
import re
import warnings
from collections.abc import Iterator, Sequence

import pyarrow as pa
import ray
import ray.data
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.util.annotations import RayDeprecationWarning
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from mm_assets.engines.answering.questions import Answer, Part
from mm_assets.engines.answering.usage import Usage
from mm_assets.engines.answering.vllm.answerer import VllmAnswerer
from mm_assets.engines.answering.vllm.engine import ENVIRONMENT, RENDERING, environment, require_vllm
from mm_assets.engines.answering.vllm.renderer import Renderer
from mm_assets.engines.answering.vllm.suspects import Quarantine
from mm_assets.engines.answering.work import AnswerJob
from mm_assets.engines.store.s3 import Secrets
from mm_assets.engines.workers.blocking import streamed
from mm_assets.engines.workers.cluster import Cluster, amounts, beside_driver, options
from mm_assets.engines.workers.pool import RETRIES
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import PredictSettings

# Blocks that an engine has at once: it begins the images of the next block while the last answers of one are written.
IN_HAND = 8
# A block has at most so many pieces. It has fewer where each renderer would get less than so many blocks.
MOST_PIECES, SHARES = 64, 8
# Bytes of prepared images that travel to an engine together: ten photos, or some hundred tiny pictures.
BLOCK_BYTES = 32 * 2**20
# How often a block may end its engine: once with images of other blocks, and once for each of its own at fault.
ENGINE_RETRIES = 2 * RETRIES
# How an exception begins in a trace.
RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception): ")


def run(job: AnswerJob, pieces: Sequence[pa.Table]) -> Iterator[Part]:
    """Answers to every piece, in order.

    Ray Data restarts an engine or renderer that died, and gives it its blocks again.

    Raises:
        RefusalError: vLLM is not installed. Or the cluster has no CPU for a renderer beside the engines. Or it lost the
            node of an engine.
        RuntimeError: a piece ended its worker again and again.
    """
    if not pieces:
        return
    if job.cluster.embedded:
        require_vllm()  # the workers check it too, but only after they have started
    engines, renderers = _workers(job.cluster, job.settings)
    places = _reserved(engines, job.settings)
    quarantine = beside_driver(Quarantine)
    try:
        pipeline = _pipeline(job, list(_blocks(pieces, renderers)), renderers, places, quarantine)

        def watch() -> None:
            job.cluster.require(engines, job.settings.resources)  # Ray would wait for an engine's lost node for ever

        yield from in_order(streamed(lambda: _results(pipeline), watch), [piece.num_rows for piece in pieces])
    except RayActorError as error:
        raise _explained(error) from None
    finally:
        ray.kill(quarantine)
        remove_placement_group(places)


EngineResult = tuple[list[tuple[int, int, Answer]], Usage]


def in_order(results: Iterator[EngineResult], sizes: Sequence[int]) -> Iterator[Part]:
    """Order answers into one part for each piece, as soon as it and all parts before it are complete.

    Args:
        results: answers with their piece and their place in it, in any order, and the usage of their worker.
        sizes: rows of each piece.
    """
    incomplete: dict[int, dict[int, Answer]] = {}
    usages: dict[str, Usage] = {}
    next_piece = 0
    for answers, usage in results:
        # Blocks of one engine may come in another order than it answered them.
        usages[usage.worker] = max(usage, usages.get(usage.worker, usage), key=lambda one: one.run_s)
        for piece, place, answer in answers:
            incomplete.setdefault(piece, {})[place] = answer
        while next_piece < len(sizes) and len(incomplete.get(next_piece, ())) == sizes[next_piece]:
            ordered = incomplete.pop(next_piece)
            yield Part([ordered[place] for place in range(len(ordered))], list(usages.values()))
            next_piece += 1


def _reserved(engines: int, settings: PredictSettings) -> PlacementGroup:
    """Reserve the engines' resources, before renderers can take the CPUs beside a GPU."""
    places = ray.util.placement_group([amounts(settings.resources)] * engines)
    places.ready().future().result()
    return places


def _explained(error: RayActorError) -> Exception:
    """The error that ended a worker for good. Ray gives the constructor's exception as the last lines of a text."""
    if not error.actor_init_failed:
        return RuntimeError(
            "a piece of work ended its worker again and again (the worker's own words are in Ray's logs): "
            f"{' '.join(str(error).split())}"
        )
    lines = str(error).strip().splitlines()
    raised = max((place for place, line in enumerate(lines) if RAISED.match(line)), default=len(lines) - 1)
    kind, _, message = " ".join(" ".join(lines[raised:]).split()).partition(": ")
    return RefusalError(message) if kind.endswith(RefusalError.__name__) else RuntimeError(f"{kind}: {message}")


def _pipeline(
    job: AnswerJob, blocks: Sequence[pa.Table], renderers: int, places: PlacementGroup, quarantine: ActorHandle
) -> ray.data.Dataset:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settings, secrets, questions = job.settings, Secrets.of_environment(), tuple(job.questions)
    whole = {"batch_size": None, "batch_format": "pyarrow"}
    with warnings.catch_warnings():
        # Ray 2.60 has no named parameter that bounds the retries, without which a bad piece would be tried for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        prepared = ray.data.from_arrow(blocks).map_batches(
            Renderer,
            fn_constructor_args=(job.tables, job.images, job.digest, questions, settings, secrets),
            compute=ray.data.ActorPoolStrategy(size=min(renderers, len(blocks))),
            num_cpus=1,
            runtime_env={"env_vars": ENVIRONMENT | RENDERING},
            max_task_retries=RETRIES,
            **whole,
        )
        pipeline = prepared.map_batches(
            VllmAnswerer,
            fn_constructor_args=(job.tables, job.digest, questions, settings, secrets, quarantine),
            compute=ray.data.ActorPoolStrategy(
                size=places.bundle_count,
                max_tasks_in_flight_per_actor=IN_HAND,
                max_concurrent_calls_per_actor=IN_HAND,
                enable_true_multi_threading=True,
            ),
            runtime_env={"env_vars": environment(settings)},
            scheduling_strategy=PlacementGroupSchedulingStrategy(places),
            max_task_retries=ENGINE_RETRIES,
            **options(settings.resources),
            **whole,
        )
    pipeline.context.target_max_block_size = BLOCK_BYTES
    pipeline.context.enable_progress_bars = False
    pipeline.context.raise_original_map_exception = True
    return pipeline


def _workers(cluster: Cluster, settings: PredictSettings) -> tuple[int, int]:
    """The numbers of engines and renderers."""
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
    """Join consecutive pieces into blocks: each block costs Ray Data some work, and there may be a million pieces."""
    size = min(max(len(pieces) // (renderers * SHARES), 1), MOST_PIECES)
    for start in range(0, len(pieces), size):
        numbers = range(start, min(start + size, len(pieces)))
        yield pa.concat_tables(_numbered(number, pieces[number]) for number in numbers).combine_chunks()


def _numbered(number: int, piece: pa.Table) -> pa.Table:
    kept = piece.select(["image_id", "sha256", "_rowid", "question"])
    kept = kept.append_column("place", pa.array(range(kept.num_rows), pa.int64()))
    return kept.append_column("piece", pa.repeat(number, kept.num_rows))


def _results(pipeline: ray.data.Dataset) -> Iterator[EngineResult]:
    for table in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in table.to_pylist():
            yield pickle.loads(row["done"])
