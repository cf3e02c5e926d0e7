"""vLLM's engine in one process: its arguments, and a loop that keeps it busy while several threads send requests."""

import importlib.util
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mm_assets.engines.answering.vllm.suspects import CrashReport, Key, Request, RequestQueue
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import PredictSettings

# vLLM reads these when it is imported: it downloads nothing and sends no statistics.
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
# GiB of the machine's memory for the keys and values of requests; vLLM would take half of the memory.
CACHE_ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1"}
# The engine computes in its worker's own process, so that it dies and is replaced whole.
ENVIRONMENT = {**QUIET, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "WARNING"}
# Without a GPU: as many threads as Ray gives, and no compilation, which takes 20 s.
ON_CPU = {**CACHE_ON_CPU, "VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}
# A renderer uses no GPU, also where the machine has one: `vllm launch render` does the same.
RENDERING = {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "0", "TORCHDYNAMO_DISABLE": "1"}
# GiB for prepared pixels, where an image has several questions: the next question reuses them.
PROCESSOR_CACHE_GB = 0.25


def environment(settings: PredictSettings) -> dict[str, str]:
    """The environment of a process with an engine; variables that the user has set win."""
    variables = ENVIRONMENT | ({} if settings.resources.gpus else ON_CPU)
    return {name: os.environ.get(name, value) for name, value in variables.items()}


def require_vllm() -> None:
    """Refuse a machine without vLLM.

    Raises:
        RefusalError: it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise RefusalError(
            "predict.engine (MM_PREDICT__ENGINE) is vllm, and vLLM is not installed here: run `make vllm` (or, with a "
            "GPU, `pip install 'mm-assets[vllm]'`), or set it to transformers"
        )


def arguments(folder: Path, settings: PredictSettings, questions: int) -> dict[str, Any]:
    """vLLM's arguments, by the names of its `EngineArgs`.

    Args:
        folder: of merged weights and processor.
        settings: of the predictions.
        questions: number of questions about each image. From the second one on, the image's part of the prompt is taken
            from the prefix cache.
    """
    vllm = settings.vllm
    gpus = max(1, int(settings.resources.gpus))
    on_gpu = {
        "tensor_parallel_size": gpus,
        "distributed_executor_backend": "mp" if gpus > 1 else None,
        "gpu_memory_utilization": vllm.gpu_memory_utilization,
    }
    return {
        "model": str(folder),
        "dtype": "bfloat16" if settings.precision == "bf16" else "float32",
        "max_model_len": vllm.max_model_len,
        "max_num_seqs": vllm.max_num_seqs,
        "max_num_batched_tokens": vllm.max_num_batched_tokens,
        "enforce_eager": vllm.enforce_eager or not settings.resources.gpus,
        "limit_mm_per_prompt": {"image": 1},
        "enable_prefix_caching": questions > 1,
        "mm_processor_cache_gb": 0,
        # vLLM's own image models need torchvision, which cannot be imported beside a CPU build of torch.
        "model_impl": "auto" if importlib.util.find_spec("torchvision") else "transformers",
        "disable_log_stats": True,
        **(on_gpu if settings.resources.gpus else {}),
    }


class Engine:
    """One engine for several threads at once: it begins the next requests before the last ones are answered.

    A worked example of a crash, requests a, b and c:

        The engine has a, b and c in hand, and raises. `_end` reports all three as suspects, and ends the process.
        Ray starts another engine, and gives it the same blocks again. It gives a, b and c to vLLM one by one.
        a is answered. At b the engine raises again, with b alone in hand: `_end` reports b as the cause.
        The third engine answers b with EngineEndedError, which becomes the row's error, and answers a and c.

    Args:
        folder: of merged weights and processor.
        settings: of the predictions.
        questions: number of questions about each image.
        report: about the engines before this one.
        raised: called with the requests in hand when this one raises, before the process ends.
    """

    def __init__(
        self,
        folder: Path,
        settings: PredictSettings,
        questions: int,
        report: CrashReport,
        raised: Callable[[list[Key], str], None],
    ) -> None:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        self._engine = LLMEngine.from_engine_args(EngineArgs(**arguments(folder, settings, questions)))
        self._queue, self._raised = RequestQueue(report), raised
        self._in_hand: dict[str, Request] = {}
        self._numbers = itertools.count()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def waited_s(self) -> float:
        """Seconds in which it had nothing to compute."""
        return self._queue.waited_s

    def answer(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests, and wait for their answers.

        Returns:
            In order, vLLM's `RequestOutput` of each request. Or the exception by which vLLM refused it, or
            `EngineEndedError`.
        """
        for request in requests:
            self._queue.put(request)
        return [request.answer.exception() or request.answer.result() for request in requests]

    def _run(self) -> None:
        try:
            while True:
                self._take()
                for output in self._engine.step():
                    if output.finished:
                        self._in_hand.pop(output.request_id).answer.set_result(output)
        except BaseException as error:  # noqa: BLE001  (an engine that failed once is not to be trusted)
            self._end(error)

    def _end(self, error: BaseException) -> None:
        """Report the requests in hand and end the process. Ray starts another one, and gives it the same blocks."""
        try:
            traceback.print_exception(error)
            sys.stderr.flush()
            self._raised([request.key for request in self._in_hand.values()], f"{type(error).__name__}: {error}")
        finally:
            os._exit(1)

    def _take(self) -> None:
        """Hand new requests to the engine; wait for one where it has nothing else to do."""
        while request := self._queue.next(idle=not self._engine.has_unfinished_requests()):
            self._add(request)

    def _add(self, request: Request) -> None:
        name = str(next(self._numbers))
        self._in_hand[name] = request
        try:
            self._engine.add_request(name, request.inputs, request.params)
        except Exception as error:  # noqa: BLE001  (a request that vLLM refuses becomes that row's error)
            self._in_hand.pop(name).answer.set_exception(error)
