"""Speed and cost out of what workers say of themselves."""

import pytest

from mm_assets.engines.answering.usage import Spent, Usage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, in seconds; the last one counts."""
    now = [100.0]
    monkeypatch.setattr("mm_assets.engines.answering.usage.time.monotonic", lambda: now[-1])
    return now


def test_workers_are_added_up_at_their_last_word(clock: list[float]) -> None:
    spent = Spent()
    clock.append(140.0)  # the first worker was ready 10 s ago
    spent.add(Usage("a", 20.0, 10.0, 5.0, 1000, 100))
    clock.append(150.0)
    spent.add(Usage("a", 20.0, 20.0, 6.0, 2000, 200))
    spent.add(Usage("b", 30.0, 15.0, 1.0, 500, 50))
    spent.add(Usage("a", 20.0, 12.0, 5.5, 1100, 110))  # said earlier, heard late
    clock.append(500.0)  # what comes after the last answer does not count
    found = spent.figures(40, 2, 3600.0)
    assert found == {
        "images_per_s": 40 / 20,
        "tokens_per_s": 2750 / 20,
        "startup_s": 30.0,
        "engine_wait_share": 7 / 35,
        "prompt_tokens": 2500,
        "output_tokens": 250,
        "worker_s": 85.0,
        "gpu_s": 170.0,
        "cost": 85.0,
        "cost_per_1000_images": 85.0 / 40 * 1000,
    }


def test_nothing_computed_has_no_speed() -> None:
    assert Spent().figures(0, 1, 2.0) == {}


def test_without_a_price_there_is_no_cost() -> None:
    spent = Spent()
    spent.add(Usage("a", 1.0, 1.0, 0.0, 1, 1))
    assert not {"cost", "cost_per_1000_images"} & spent.figures(1, 0, None).keys()
