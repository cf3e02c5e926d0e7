"""Images per second of the predictions, beside the plain loop over the same engine, cold and warm.

`python -m bench.gpu_predict --size 7b` on a GPU: LLaVA-NeXT-Mistral-7B with random weights (they compute as long as
trained ones, and nothing is downloaded), 1,000 photos of 800 x 600 pixels, no two alike: about 2,300 tokens in, and an
answer of about 12, held to eight labels. `--size tiny` is the same on a CPU, where the preparing of photos counts most.

This project's pipeline reads them from a lake, prepares them on CPU workers and answers by one engine per GPU; the loop
opens the files and gives them all to `LLM.generate` (to `generate` in batches where vLLM is not installed). On a GPU
vLLM computes in a child process meanwhile, as it does by default; on a CPU that child hung, and it is left out. Nobody
finds an image in a cache. Cold: from a process without a model (and without Ray) to the last answer. Warm: from when
the engine is ready, on files that were read before; some images are prepared while it starts, as many as Ray Data lets
wait. Both must give the same answers.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import packages_distributions
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from bench.lab import measure, pictures, plain_predict
from bench.lab.driver import run_step
from bench.lab.llava import build
from mm_assets.engines.answering.questions import Question
from mm_assets.engines.answering.run import run
from mm_assets.engines.answering.usage import Spent
from mm_assets.engines.answering.vllm.engine import QUIET, environment
from mm_assets.engines.answering.work import AnswerJob, cut_pieces
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, local_folder, model_staging
from mm_assets.engines.sources.opening import open_source
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import IngestSettings, PredictSettings, Resources, S3Settings
from mm_assets.stages.ingest.job import list_objects, store_images

LABELS = ("bathroom", "beach", "bedroom", "garden", "gym", "lobby", "pool", "restaurant")
ANSWERS = {label: f"this is a photo of a {label}, I think." for label in LABELS}
QUESTION = Question("label", "Fill in the blank: this is a photo of a {}", ANSWERS)
# On one H200: the seconds that 1,000 images may take, and how many times faster than the loop that must be. On CPUs
# both compute and prepare on the same cores.
ASKED_S, ASKED_TIMES = 75.0, 1.6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    parser = measure.parser(__doc__, images=1000, gpus=0)
    parser.add_argument("--size", choices=("tiny", "7b"), default="tiny")
    parser.add_argument("--engine", choices=("vllm", "transformers"), default=plain_predict.installed())
    options = measure.options_of(parser, "gpu_predict", arguments, images=8)
    with tempfile.TemporaryDirectory(prefix="bench-predict-", dir=options.scratch) as scratch:
        rows, targets = compared(Path(scratch), options.size, options.images, settings(options))
    measure.show(f"{options.images:,} photos, {options.size}, {options.engine}", rows)
    measure.show("targets", targets["targets"])
    packages = measure.versions("torch", "transformers", "ray", "pylance", *packages_distributions()[options.engine])
    measure.save(options, {"versions": packages, "ways": rows, **targets})


def settings(options: Any) -> PredictSettings:  # noqa: ANN401  (an argparse namespace)
    """The same for both."""
    gpus = options.gpus or (1 if options.size == "7b" else 0)
    return PredictSettings(
        engine=options.engine,
        label_method="greedy",
        precision="bf16" if gpus else "float32",
        batch_size=32 if options.engine == "vllm" else 8,
        resources=Resources(cpus=1, gpus=gpus),
        vllm={"max_model_len": 4096 if options.size == "7b" else 256},
    )


def compared(scratch: Path, size: str, count: int, how: PredictSettings) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The loop first, in a process that is gone when the project begins: a GPU holds one of them."""
    tables, source = Lake(str(scratch / "lake")), scratch / "photos"
    pictures.write_folder(source, pictures.draw_many(count), count)
    images, digest = stored(tables, source), make_model(tables, size)
    print("the lake and the model are made", flush=True)
    paths = sorted(measure.files(source))
    loop = plain_predict.Loop(paths, local_folder(tables, digest), QUESTION, how)
    with (
        mock.patch.dict("os.environ", QUIET if how.resources.gpus else environment(how)),
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process,
    ):
        plain = process.submit(plain_predict.run, loop).result()
    cold, warm = project(tables, images, digest, how)
    agree = sum(one == other for one, other in zip(warm.pop("answers"), plain.answers, strict=True)) / count
    cold.pop("answers")
    rows = [
        {"way": "this project, cold", "seconds": cold["seconds"], **figures(cold)},
        {"way": "the loop, cold", "seconds": plain.start_s + plain.passes_s[0], "startup_s": plain.start_s},
        {"way": "this project, warm", "seconds": count / warm["images_per_s"], **figures(warm)},
        {"way": "the loop, warm", "seconds": plain.passes_s[-1]},
    ]
    for row in rows:
        row["images_per_s"] = count / row["seconds"]
    ours_cold, loop_cold, ours_warm, loop_warm = (row["seconds"] for row in rows)
    on_gpu = [measure.verdict("warm: seconds for 1,000 images", ours_warm / count * 1000, ASKED_S, at_least=False)]
    asked_times = ASKED_TIMES if how.resources.gpus else 1
    targets = [
        *(on_gpu if how.resources.gpus else []),
        measure.verdict("warm: times faster than the loop", loop_warm / ours_warm, asked_times, at_least=True),
        measure.verdict("cold: times faster than the loop", loop_cold / ours_cold, 1, at_least=True),
        measure.verdict("share of answers that both give", agree, 0.99, at_least=True),
    ]
    tokens = {name: warm[name] / count for name in ("prompt_tokens", "output_tokens")}
    return rows, {"targets": targets, "tokens_per_image": tokens, "gpu": gpu()}


def figures(run: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a run."""
    return {name: run[name] for name in ("startup_s", "engine_wait_share", "tokens_per_s")}


def stored(tables: Lake, source: Path) -> LanceRef:
    """The photos in a lake."""
    cluster, place = Cluster(), open_source(str(source), S3Settings())
    try:
        run_step(tables, lambda step: list_objects(step, tables, place, "bench"), "raw_images")
        records = run_step(
            tables,
            lambda step: store_images(step, tables, cluster, place, IngestSettings()),
            "image_table",
            inputs=("raw_images",),
        )
    finally:
        cluster.shutdown()
    return records["image_table"].ref


def make_model(tables: Lake, size: str) -> str:
    """The digest of the model in the lake."""
    with model_staging(tables) as folder:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:  # it keeps none of the GPU's memory
            process.submit(build, size, folder).result()
        return keep_model(tables, folder)[0]


def project(tables: Lake, images: LanceRef, digest: str, how: PredictSettings) -> Iterator[dict[str, Any]]:
    """Two runs: the first starts Ray, too."""
    rows = tables.open_at(images).scanner(
        columns=["image_id", "sha256", "width", "height"], with_row_id=True
    ).to_table()  # fmt: skip
    rows = rows.sort_by("image_id").append_column("question", [[0] * rows.num_rows])
    cluster = Cluster()
    try:
        for _ in range(2):
            since, spent = time.perf_counter(), Spent()
            cluster.connect()
            answers = []
            job = AnswerJob(tables, cluster, images, digest, [QUESTION], how)
            for part in run(job, list(cut_pieces(rows, how.batch_size))):
                for usage in part.usages:
                    spent.add(usage)
                answers += [answer.text for answer in part.answers]
            seconds = time.perf_counter() - since
            yield {"seconds": seconds, "answers": answers, **spent.figures(len(answers), how.resources.gpus, None)}
    finally:
        cluster.shutdown()


def gpu() -> str | None:
    """Its name, where there is one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
