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
class Known:
    """What ended engines have left.

    Args:
        suspects: requests that were in hand when an engine raised.
        ended: those at which one raised again when it had them alone, and what it raised.
    """

    suspects: frozenset[Key] = frozenset()
    ended: dict[Key, str] = field(default_factory=dict)


class Quarantine:
    """Remembers for engines that end; an actor."""

    def __init__(self) -> None:
        self._known = Known()

    def known(self) -> Known:
        """For an engine that begins."""
        return self._known

    def raised(self, in_hand: Sequence[Key], error: str) -> None:
        """Hear what an engine had in hand, and what it raised."""
        suspects, ended = self._known.suspects, self._known.ended
        if len(in_hand) == 1 and in_hand[0] in suspects:
            ended = {**ended, in_hand[0]: error}
        self._known = Known(suspects | set(in_hand), ended)


@dataclass(frozen=True)
class Asked:
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


class Line:
    """Requests on their way to an engine: as they come, but suspects one by one, with nothing beside them.

    Args:
        known: of the engines before.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._new: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self._suspected: deque[Asked] = deque()
        self._one_alone = False
        self.waited_s = 0.0

    def put(self, asked: Asked) -> None:
        """Join the line; from any thread."""
        self._new.put(asked)

    def next(self, idle: bool) -> Asked | None:
        """The next request for the engine; None where it should first go on with what it has.

        Args:
            idle: the engine has nothing in hand: then this waits for a request.
        """
        if self._one_alone and not idle:
            return None
        self._one_alone = False
        while not self._suspected and (idle or not self._new.empty()):
            asked = self._take()
            if asked.key in self._known.ended:
                asked.answer.set_exception(EngineEndedError(self._known.ended[asked.key]))
            elif asked.key in self._known.suspects:
                self._suspected.append(asked)
            else:
                return asked
        if not (self._suspected and idle):
            return None  # also where suspects wait for the engine to be through with the others
        self._one_alone = True
        return self._suspected.popleft()

    def _take(self) -> Asked:
        since = time.monotonic()
        asked = self._new.get()
        self.waited_s += time.monotonic() - since
        return asked
