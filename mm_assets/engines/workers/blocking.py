"""Work that blocks inside (Ray Train, Ray Data): its log lines, its results, and its end by an interrupt."""

import concurrent.futures
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import ray

from mm_assets.engines.workers.cluster import beside_driver

T = TypeVar("T")

FETCH_EVERY_S = 2.0
# Seconds between two looks at whether results can still come.
WATCH_EVERY_S = 10.0
# Results of an iterator that wait for the reader, at most.
WAITING = 4


class _Mailbox:
    """A Ray actor that keeps lines, and a result, until the driver fetches them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._result: Any = None

    def put(self, line: str) -> None:
        """Keep a line."""
        self._lines.append(line)

    def drain(self) -> list[str]:
        """Hand over all lines."""
        lines, self._lines = self._lines, []
        return lines

    def hand_over(self, result: Any) -> None:  # noqa: ANN401  (whatever the work gives)
        """Keep the result."""
        self._result = result

    def result(self) -> Any:  # noqa: ANN401
        """The result; None before one was handed over."""
        return self._result


class DriverMailbox:
    """A mailbox for the driver: workers put log lines and a result in, and the driver takes them out.

    The object itself travels to the workers; its content is in an actor beside the driver.
    """

    def __init__(self) -> None:
        self._mailbox = beside_driver(_Mailbox)

    def log(self, line: str) -> None:
        """Send a line for the driver's log, without waiting for it."""
        self._mailbox.put.remote(line)

    def hand_over(self, result: Any) -> None:  # noqa: ANN401  (whatever the work gives)
        """Give the driver the result, and wait until the mailbox has it."""
        ray.get(self._mailbox.hand_over.remote(result))

    def result(self) -> Any:  # noqa: ANN401
        """The result; None before one was handed over."""
        return self._mailbox.result.remote().future().result()

    def fetch(self) -> list[str]:
        """The lines since the last call."""
        return self._mailbox.drain.remote().future().result()


def interruptible(
    work: Callable[[], T], mailbox: DriverMailbox, log: Callable[[str], None], abandon: Callable[[], None]
) -> T:
    """Run work that blocks (Ray Train) in a thread, so that this thread can be interrupted.

    Args:
        work: blocks until it gives its result.
        mailbox: the workers put log lines into it.
        log: gets these lines.
        abandon: ends the work when this thread is interrupted, so that it does not go on unseen.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def target() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (handed on to the waiting thread, whatever it is)
            future.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    try:
        while not future.done():
            concurrent.futures.wait([future], timeout=FETCH_EVERY_S)
            for line in mailbox.fetch():
                log(line)
    except BaseException:
        if not future.done():
            abandon()
        raise
    return future.result()


def streamed(work: Callable[[], Iterator[T]], watch: Callable[[], None] = lambda: None) -> Iterator[T]:
    """Read an iterator that blocks (Ray Data) in a thread, so that this thread can be interrupted.

    At most `WAITING` results wait for the reader. Where the reader stops, the iterator is closed at its next result.

    Args:
        work: makes the iterator.
        watch: called every `WATCH_EVERY_S` without a result; it raises where no result can come any more.
    """
    results: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=WAITING)
    stopped = threading.Event()

    def target() -> None:
        try:
            for result in work():
                results.put((True, result))
                if stopped.is_set():
                    return
            results.put((False, None))
        except BaseException as error:  # noqa: BLE001  (handed on to the reading thread, whatever it is)
            results.put((False, error))

    threading.Thread(target=target, daemon=True).start()
    try:
        while (item := _next(results, watch))[0]:
            yield item[1]
        if item[1] is not None:
            raise item[1]
    finally:
        stopped.set()
        while not results.empty():  # the thread may be waiting to put a result in
            results.get()


def _next(results: queue.Queue[tuple[bool, Any]], watch: Callable[[], None]) -> tuple[bool, Any]:
    while True:
        try:
            return results.get(timeout=WATCH_EVERY_S)
        except queue.Empty:
            watch()
