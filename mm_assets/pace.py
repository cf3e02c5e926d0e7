"""Progress of a long piece of work, for the log."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Done = TypeVar("Done")

# Seconds between two lines, at least.
EVERY_S = 5.0
MB = 10**6


class Pace:
    """A log of a long piece of work: how much is done, its speed, and the time left.

    Args:
        what: the plural noun that is counted ("images").
        total: how many there are; None where it is unknown.
        log: gets each line.
        every_s: seconds between two lines, at least; None: `EVERY_S`.
    """

    def __init__(self, what: str, total: int | None, log: Callable[[str], None], every_s: float | None = None) -> None:
        self._what, self._total, self._log = what, total, log
        self._every_s = EVERY_S if every_s is None else every_s
        self._started = self._said = time.monotonic()
        self._done = 0

    def over(self, results: Iterable[Done], count: Callable[[Done], int]) -> Iterator[Done]:
        """Pass results on, and add the count of each."""
        for result in results:
            self.add(count(result))
            yield result

    def add(self, count: int) -> None:
        """Add finished work; log a line where the last one is old enough, and at the end."""
        self._done += count
        now = time.monotonic()
        if now - self._said < self._every_s and (self._total is None or self._done < self._total):
            return
        self._said = now
        rate = max(self._done, 1) / max(now - self._started, 1e-9)
        if self._total is None:
            self._log(f"{self._done:,} {self._what}, {rate:,.0f}/s")
            return
        left = (self._total - self._done) / rate
        self._log(f"{self._done:,} of {self._total:,} {self._what}, {rate:,.0f}/s, {left:,.0f} s left")


class BytesPace:
    """Progress in bytes, logged in MB.

    Args:
        what: the word for the work ("packed").
        total: bytes of all work.
        log: gets each line.
    """

    def __init__(self, what: str, total: int, log: Callable[[str], None]) -> None:
        self._progress = Pace(f"MB {what}", -(-total // MB), log)
        self._done = 0

    def add(self, size: int) -> None:
        """Add finished bytes."""
        before, self._done = self._done, self._done + size
        started = -(-self._done // MB) - -(-before // MB)
        if started:
            self._progress.add(started)
