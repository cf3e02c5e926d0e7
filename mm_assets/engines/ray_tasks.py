"""The one seam to Ray: start or join a cluster, map a callable class over items, give up cleanly."""

import concurrent.futures
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import ray

from mm_assets.lineage.refs import RefusalError

T = TypeVar("T")

# Where a node is lost, Ray starts the actor elsewhere and gives it the item again.
RESTARTS = 3
FETCH_EVERY_S = 2.0
EMBEDDED_OBJECT_STORE = 512 * 2**20  # ids, fragments' metadata and scores travel; image bytes never do


class Cluster:
    """A Ray cluster that is joined, or started in place, at the first use; one that this process has is used as it is.

    Args:
        address: of an existing cluster; None starts one on this machine.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._owned = False

    def connect(self) -> None:
        """Connect once; later calls return at once."""
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_worker_niceness", "0")  # workers run at nice 15 otherwise
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Workers' progress comes back as data, into Dagster's log; what else they print stays in Ray's session folder.
        options: dict[str, Any] = {
            "address": self._address,
            "logging_level": logging.WARNING,
            "log_to_driver": False,
        }
        if self._address is None:
            # Without an explicit "local", Ray attaches to any cluster that it finds on the machine.
            options |= {"address": "local", "include_dashboard": False, "object_store_memory": EMBEDDED_OBJECT_STORE}
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        ray.init(**options)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # ray.init replaces them, and Dagster's cancel would be lost
                signal.signal(number, handler)
        self._owned = True

    def shutdown(self) -> None:
        """Leave a cluster that was joined here, and end one that was started here."""
        if self._owned:
            ray.shutdown()
            self._owned = False

    def cpus(self) -> int:
        """CPUs of the whole cluster."""
        self.connect()
        return int(ray.cluster_resources().get("CPU", 1))

    def require(self, workers: int, num_cpus: float, num_gpus: float) -> int:
        """How many workers with these needs the cluster can hold at once.

        Raises:
            RefusalError: fewer than `workers`; Ray would wait for more without a word.
        """
        self.connect()
        has = ray.cluster_resources()
        places = [has.get(name, 0) // need for name, need in (("CPU", num_cpus), ("GPU", num_gpus)) if need]
        capacity = int(min(places))
        if capacity < workers:
            raise RefusalError(
                f"{workers} workers of {num_cpus:g} CPUs and {num_gpus:g} GPUs do not fit into the Ray cluster "
                f"({has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs): ask for fewer (train.workers, "
                "predict.threads, use_gpu), or join a larger cluster (MM_RAY_ADDRESS)"
            )
        return capacity

    def map(
        self,
        worker: type[Any],
        arguments: tuple[Any, ...],
        items: Sequence[Any],
        *,
        actors: int | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
    ) -> Iterator[tuple[int, Any]]:
        """Call `worker(*arguments)(item)` for every item on a pool of actors.

        Args:
            worker: a class whose instances are called with one item; it must return a row's error as data.
            arguments: of its constructor.
            items: what to map over; an item waits in the driver until an actor is free.
            actors: size of the pool, at most as many as fit; as many as fit where it is not given.
            num_cpus: that each actor takes.
            num_gpus: that each actor takes.

        Yields:
            (position of the item, result), in the order in which they end.
        """
        if not items:
            return
        capacity = self.require(1, num_cpus, num_gpus)
        count = min(len(items), actors or capacity, capacity)
        remote = ray.remote(_Holder).options(
            num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS
        )
        pool = [remote.remote(worker, arguments) for _ in range(count)]
        try:
            yield from _distribute(pool, items)
        finally:
            for actor in pool:
                ray.kill(actor)

    def map_batches(
        self,
        worker: type[Any],
        arguments: tuple[Any, ...],
        batches: Sequence[Sequence[Any]],
        each: Callable[[Any], None],
        **resources: float | None,
    ) -> Iterator[list[Any]]:
        """Like `map` over the items of all batches, with one pool; gives the batches in their order.

        The order of commits, and with it that of row ids, does not depend on which worker was faster.

        Args:
            worker: see `map`, as the rest.
            arguments: of its constructor.
            batches: of items.
            each: called with every result as it comes (to report progress).
            resources: `actors`, `num_cpus`, `num_gpus` of `map`.

        Yields:
            results of the items of each batch, in order.
        """
        ends = list(accumulate(map(len, batches)))
        results = self.map(worker, arguments, [item for batch in batches for item in batch], **resources)  # type: ignore[arg-type]
        found: dict[int, Any] = {}
        for end, batch in zip(ends, batches, strict=True):
            wanted = range(end - len(batch), end)
            while not all(position in found for position in wanted):
                position, result = next(results)
                found[position] = result
                each(result)
            yield [found.pop(position) for position in wanted]


class _Holder:
    """A Ray actor around one instance of a plain callable class."""

    def __init__(self, worker: type[Any], arguments: tuple[Any, ...]) -> None:
        self._call = worker(*arguments)

    def run(self, item: Any) -> Any:  # noqa: ANN401  (whatever the worker takes and gives)
        return self._call(item)


def _distribute(pool: list[Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    waiting = iter(enumerate(items))
    busy: dict[concurrent.futures.Future, tuple[int, Any]] = {}

    def give(actor: Any) -> None:  # noqa: ANN401  (a Ray actor handle)
        for position, item in waiting:
            busy[actor.run.remote(item).future()] = (position, actor)
            return

    for actor in pool:
        give(actor)
    while busy:
        # Waiting on futures can be interrupted by Dagster's cancel; a blocking ray.get cannot.
        done, _ = concurrent.futures.wait(busy, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            position, actor = busy.pop(future)
            result = future.result()
            give(actor)
            yield position, result


class _Mailbox:
    """A Ray actor that keeps lines until the driver fetches them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def put(self, line: str) -> None:
        """Keep a line."""
        self._lines.append(line)

    def drain(self) -> list[str]:
        """Hand over all lines."""
        lines, self._lines = self._lines, []
        return lines


class ProgressLine:
    """A way for a worker to say something in the driver's log; travels to workers, `fetch` stays in the driver."""

    def __init__(self) -> None:
        self._mailbox = ray.remote(_Mailbox).options(num_cpus=0).remote()

    def say(self, line: str) -> None:
        """Send a line to the driver, without waiting for it."""
        self._mailbox.put.remote(line)

    def fetch(self) -> list[str]:
        """Lines that came since the last call."""
        return self._mailbox.drain.remote().future().result()


def interruptible(work: Callable[[], T], lines: ProgressLine, log: Callable[[str], None]) -> T:
    """Run something that blocks inside (Ray Train) in a thread, so that the main thread can be interrupted.

    Args:
        work: what blocks.
        lines: what workers say meanwhile,
        log: and where it goes.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def target() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (handed on to the waiting thread, whatever it is)
            future.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    while not future.done():
        concurrent.futures.wait([future], timeout=FETCH_EVERY_S)
        for line in lines.fetch():
            log(line)
    return future.result()


class Progress:
    """Logs how much of a long piece of work is done, how fast it goes and how long it will take.

    Args:
        what: the plural noun that is counted ("images").
        total: how many there are.
        log: where a line goes.
        every_s: seconds between two lines, at least.
    """

    def __init__(self, what: str, total: int, log: Callable[[str], None], every_s: float = 5.0) -> None:
        self._what, self._total, self._log, self._every_s = what, total, log, every_s
        self._started = self._said = time.monotonic()
        self._done = 0

    def add(self, count: int) -> None:
        """Count work that is done; says so when the last line is old enough, and at the end."""
        self._done += count
        now = time.monotonic()
        if now - self._said < self._every_s and self._done < self._total:
            return
        self._said = now
        rate = max(self._done, 1) / max(now - self._started, 1e-9)
        left = (self._total - self._done) / rate
        self._log(f"{self._done:,} of {self._total:,} {self._what}, {rate:,.0f}/s, {left:,.0f} s left")
