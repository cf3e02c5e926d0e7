"""Results of a thread that blocks, read one by one."""

import threading
from collections.abc import Iterator

import pytest

from mm_assets.engines.workers import blocking as blocking_work
from mm_assets.engines.workers.blocking import WAITING, streamed

LONG_S = 30.0


def test_results_come_in_order_and_end() -> None:
    assert list(streamed(lambda: iter(range(50)))) == list(range(50))


def test_what_the_thread_raises_comes_after_its_results() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("no answer")

    results = streamed(broken)
    assert next(results) == 1
    with pytest.raises(OSError, match="no answer"):
        next(results)


def test_whoever_stops_reading_ends_the_work() -> None:
    closed = threading.Event()
    made: list[None] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                made.append(None)
                yield len(made)
        finally:
            closed.set()

    results = streamed(endless)
    assert next(results) == 1
    results.close()  # type: ignore[attr-defined]
    assert closed.wait(LONG_S)
    assert len(made) <= 2 * WAITING + 3  # it never ran far ahead


def test_what_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_work, "WATCH_EVERY_S", 0.01)
    never = threading.Event()

    def stuck() -> Iterator[int]:
        yield 1
        never.wait(LONG_S)

    def watch() -> None:
        raise OSError("its node is lost")

    results = streamed(stuck, watch)
    assert next(results) == 1
    with pytest.raises(OSError, match="its node is lost"):
        next(results)
    never.set()
