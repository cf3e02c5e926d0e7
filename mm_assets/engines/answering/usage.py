"""What answering took: each worker says it with every result, so that one that dies takes little of it along."""

import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What one worker has done since it began.

    Args:
        worker: id of its process.
        start_s: seconds until it had the model in memory and was ready.
        run_s: seconds since then.
        waited_s: seconds of these in which the model had nothing to compute, for no image was ready for it.
        prompt_tokens: that were read, image tokens included.
        output_tokens: of answers, written or scored.
    """

    worker: str
    start_s: float
    run_s: float
    waited_s: float
    prompt_tokens: int
    output_tokens: int


class Spent:
    """What all workers of a piece of work have done together."""

    def __init__(self) -> None:
        self._latest: dict[str, Usage] = {}
        self._since = time.monotonic()
        self._ready = self._until = self._since

    def add(self, usage: Usage) -> None:
        """Take note of how far a worker is, now."""
        self._until = time.monotonic()
        self._ready = min(self._ready, self._until - usage.run_s) if self._latest else self._until - usage.run_s
        earlier = self._latest.get(usage.worker)
        if earlier is None or usage.run_s > earlier.run_s:
            self._latest[usage.worker] = usage

    def figures(self, images: int, gpus: float, price_per_hour: float | None) -> dict[str, float | int]:
        """Speed and cost, as metadata; empty where nothing was computed.

        Args:
            images: that were answered.
            gpus: of one worker.
            price_per_hour: of one worker, in any currency.

        Returns:
            `images_per_s` and `tokens_per_s` (from when the first worker was ready), `startup_s` (until then),
            `engine_wait_share` (of the workers' time since they were ready, in which they had no input),
            `prompt_tokens`, `output_tokens`, `worker_s` and `gpu_s` (start-up included), and with a price `cost` and
            `cost_per_1000_images`.
        """
        workers = list(self._latest.values())
        if not workers or not images:
            return {}
        seconds = max(self._until - self._ready, 1e-9)
        prompt, output = _sum(w.prompt_tokens for w in workers), _sum(w.output_tokens for w in workers)
        busy = _sum(w.start_s + w.run_s for w in workers)
        figures: dict[str, float | int] = {
            "images_per_s": images / seconds,
            "tokens_per_s": (prompt + output) / seconds,
            "startup_s": self._ready - self._since,
            "engine_wait_share": _sum(w.waited_s for w in workers) / max(_sum(w.run_s for w in workers), 1e-9),
            "prompt_tokens": int(prompt),
            "output_tokens": int(output),
            "worker_s": busy,
            "gpu_s": busy * gpus,
        }
        if price_per_hour is not None:
            cost = busy / 3600 * price_per_hour
            figures |= {"cost": cost, "cost_per_1000_images": cost / images * 1000}
        return figures


def _sum(values: Iterable[float]) -> float:
    return float(sum(values))
