"""Time and tokens that answering took. Workers report them with every result, so that a lost worker loses little."""

import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """One worker's time and tokens since it began.

    Args:
        worker: id of its process.
        start_s: seconds until the model was in memory and ready.
        run_s: seconds since then.
        waited_s: seconds of `run_s` in which the model had nothing to compute, because no image was ready.
        prompt_tokens: read, image tokens included.
        output_tokens: of answers, written or scored.
    """

    worker: str
    start_s: float
    run_s: float
    waited_s: float
    prompt_tokens: int
    output_tokens: int


class Spent:
    """The usage of all workers of a job together."""

    def __init__(self) -> None:
        self._latest: dict[str, Usage] = {}
        self._since = time.monotonic()
        self._ready = self._until = self._since

    def add(self, usage: Usage) -> None:
        """Add a worker's latest usage; it replaces the earlier one of that worker."""
        self._until = time.monotonic()
        self._ready = min(self._ready, self._until - usage.run_s) if self._latest else self._until - usage.run_s
        earlier = self._latest.get(usage.worker)
        if earlier is None or usage.run_s > earlier.run_s:
            self._latest[usage.worker] = usage

    def figures(self, images: int, gpus: float, price_per_hour: float | None) -> dict[str, float | int]:
        """Speed and cost, as metadata; empty where nothing was computed.

        Args:
            images: number of answered images.
            gpus: of one worker.
            price_per_hour: of one worker, in any currency.

        Returns:
            `images_per_s` and `tokens_per_s` since the first worker was ready, and `startup_s` until then.
            `engine_wait_share`: share of the workers' ready time without input. `prompt_tokens`, `output_tokens`.
            `worker_s` and `gpu_s`, start-up included. With a price, `cost` and `cost_per_1000_images`.
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
