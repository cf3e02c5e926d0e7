"""How far a long piece of work is, for the log."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Done = TypeVar("Done")

# Seconds between two lines, at least.
EVERY_S = 5.0
MB = 10**6


class Pace:
    """Logs how much of a long piece of work is done, how fast it goes and how long it will take.

    Args:
        what: the plural noun that is counted ("images").
        total: how many there are; None where nobody knows.
        log: where a line goes.
        every_s: seconds between two lines, at least; `EVERY_S` where none are given.
    """

    def __init__(self, what: str, total: int | None, log: Callable[[str], None], every_s: float | None = None) -> None:
        self._what, self._total, self._log = what, total, log
        self._every_s = EVERY_S if every_s is None else every_s
        self._started = self._said = time.monotonic()
        self._done = 0

    def over(self, results: Iterable[Done], count: Callable[[Done], int]) -> Iterator[Done]:
        """The same results; counts what each is worth as it comes by."""
        for result in results:
            self.add(count(result))
            yield result

    def add(self, count: int) -> None:
        """Count work that is done; says so when the last line is old enough, and at the end."""
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
    """The same for bytes, told as MB.

    Args:
        what: what happens to them ("packed").
        total: bytes that there are.
        log: where a line goes.
    """

    def __init__(self, what: str, total: int, log: Callable[[str], None]) -> None:
        self._progress = Pace(f"MB {what}", -(-total // MB), log)
        self._done = 0

    def add(self, size: int) -> None:
        """Count bytes that are done."""
        before, self._done = self._done, self._done + size
        started = -(-self._done // MB) - -(-before // MB)
        if started:
            self._progress.add(started)
