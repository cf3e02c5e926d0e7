"""Which requests end an engine: those that it had in hand when it raised are asked again one by one.

An engine that raised is not to be trusted, so its process ends, and with it all knowledge of what it was at: that is
kept here, in an actor beside the engines, and told to the next one.
"""

import queue
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

# A row of work: the number of its piece, and its place there.
Key = tuple[int, int]


class EngineEndedError(Exception):
    """An engine raised at this request when it had no other in hand."""


@dataclass(frozen=True)
class CrashReport:
    """What is known of the engines that ended.

    Args:
        suspects: requests that were in hand when an engine raised.
        ended: those at which one raised again when it had them alone, and what it raised.
    """

    suspects: frozenset[Key] = frozenset()
    ended: dict[Key, str] = field(default_factory=dict)


class Quarantine:
    """Remembers for engines that end; an actor."""

    def __init__(self) -> None:
        self._report = CrashReport()

    def report(self) -> CrashReport:
        """For an engine that begins."""
        return self._report

    def raised(self, in_hand: Sequence[Key], error: str) -> None:
        """Hear what an engine had in hand, and what it raised."""
        suspects, ended = self._report.suspects, self._report.ended
        if len(in_hand) == 1 and in_hand[0] in suspects:
            ended = {**ended, in_hand[0]: error}
        self._report = CrashReport(suspects | set(in_hand), ended)


@dataclass(frozen=True)
class Request:
    """A request, and where its answer is awaited.

    Args:
        key: of its row.
        inputs: vLLM's, as they were rendered.
        params: vLLM's `SamplingParams`.
    """

    key: Key
    inputs: Any
    params: Any
    answer: Future[Any] = field(default_factory=Future)


class RequestQueue:
    """Requests on their way to an engine: as they come, but suspects one by one, with nothing beside them.

    Args:
        report: of the engines before.
    """

    def __init__(self, report: CrashReport) -> None:
        self._report = report
        self._new: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._suspected: deque[Request] = deque()
        self._one_alone = False
        self.waited_s = 0.0

    def put(self, request: Request) -> None:
        """Add a request; from any thread."""
        self._new.put(request)

    def next(self, idle: bool) -> Request | None:
        """The next request for the engine; None where it should first go on with what it has.

        Args:
            idle: the engine has nothing in hand: then this waits for a request.
        """
        if self._one_alone and not idle:
            return None
        self._one_alone = False
        while not self._suspected and (idle or not self._new.empty()):
            request = self._take()
            if request.key in self._report.ended:
                request.answer.set_exception(EngineEndedError(self._report.ended[request.key]))
            elif request.key in self._report.suspects:
                self._suspected.append(request)
            else:
                return request
        if not (self._suspected and idle):
            return None  # also where suspects wait for the engine to be through with the others
        self._one_alone = True
        return self._suspected.popleft()

    def _take(self) -> Request:
        since = time.monotonic()
        request = self._new.get()
        self.waited_s += time.monotonic() - since
        return request
