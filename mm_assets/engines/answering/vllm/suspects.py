"""Suspects, the requests that an engine had in hand when it raised: the next engine gets them one by one.

An engine that raised is not trusted again, so its process ends. The list of its requests would be lost with it. So an
actor beside the engines keeps the list, and gives it to the next engine.
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
    """An engine raised while it had this request alone in hand."""


@dataclass(frozen=True)
class CrashReport:
    """The report about engines that ended.

    Args:
        suspects: requests that were in hand when an engine raised.
        ended: suspects that ended a further engine alone, with its error.
    """

    suspects: frozenset[Key] = frozenset()
    ended: dict[Key, str] = field(default_factory=dict)


class Quarantine:
    """An actor that keeps the crash report while engines end and begin."""

    def __init__(self) -> None:
        self._report = CrashReport()

    def report(self) -> CrashReport:
        """The report for an engine that begins."""
        return self._report

    def raised(self, in_hand: Sequence[Key], error: str) -> None:
        """Add an engine's crash: the requests in hand, and the error."""
        suspects, ended = self._report.suspects, self._report.ended
        if len(in_hand) == 1 and in_hand[0] in suspects:
            ended = {**ended, in_hand[0]: error}
        self._report = CrashReport(suspects | set(in_hand), ended)


@dataclass(frozen=True)
class Request:
    """A request to the engine, with a future for its answer.

    Args:
        key: of its row.
        inputs: of vLLM, from the renderer.
        params: vLLM's `SamplingParams`.
        answer: set by the engine.
    """

    key: Key
    inputs: Any
    params: Any
    answer: Future[Any] = field(default_factory=Future)


class RequestQueue:
    """Requests on their way to an engine, in their order. A suspect goes alone, while the engine has no other.

    A worked example, requests x, a, b and y, where a and b are suspects:

        next(idle=True) gives x.
        next(idle=False) sets a aside and gives None: the engine answers x first.
        next(idle=True) gives a, alone.
        next(idle=False) gives None, until a is answered or the engine raises.
        next(idle=True) gives b, alone. Once b is answered, next(idle=True) gives y.

    Args:
        report: about the engines before.
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
        """The next request for the engine; None where the engine should first go on with its requests.

        Args:
            idle: the engine has no request in hand. Then this call waits for one.
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
            return None  # suspects, if any, wait until the engine has answered the others
        self._one_alone = True
        return self._suspected.popleft()

    def _take(self) -> Request:
        since = time.monotonic()
        request = self._new.get()
        self.waited_s += time.monotonic() - since
        return request
