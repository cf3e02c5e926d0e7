"""What a watcher of a run is told: a run of Dagster's, without Ray."""

from typing import Any

import dagster as dg
import pytest

from mm_assets.pace import Pace
from mm_assets.terminal.events import numbers_of
from mm_assets.terminal.run import LOGGER, logger_for


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def started(self, step: str) -> None:
        self.calls.append(("started", step))

    def progress(self, step: str, text: str, done: int | None = None, total: int | None = None) -> None:
        self.calls.append(("progress", step, text, done, total))

    def materialized(self, asset: str, version: str, rows: int, seconds: float, *, reused: bool) -> None:
        assert seconds >= 0
        self.calls.append(("made", asset, version, rows, reused))

    def warned(self, asset: str, check: str, sentence: str) -> None:
        self.calls.append(("warned", asset, check, sentence))

    def failed(self, step: str, sentence: str) -> None:
        self.calls.append(("failed", step, sentence))

    def ended(self, step: str) -> None:
        self.calls.append(("ended", step))


@dg.asset(check_specs=[dg.AssetCheckSpec("balance", asset="good")])
def good(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("1,200 of 2,400 images, 600/s, 2 s left")
    return dg.MaterializeResult(
        metadata={"dagster/row_count": 2400, "reused": False},
        data_version=dg.DataVersion("images:123456@v7"),
        check_results=[dg.AssetCheckResult(passed=False, check_name="balance", description="pool: 1% of the examples")],
    )


@dg.asset(deps=[good])
def refused() -> None:
    raise dg.Failure("this lake belongs to another source: give it a new MM_LAKE")


@dg.asset(deps=[good])
def broken() -> None:
    raise ValueError("a [surprise]")


@pytest.fixture(scope="module")
def calls() -> list[tuple[Any, ...]]:
    told = Told()
    definitions = dg.Definitions([good, refused, broken], loggers={LOGGER: logger_for(told)})
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config={"loggers": {LOGGER: {}}}, raise_on_error=False
    )
    assert not result.success
    return told.calls


def test_a_step_is_told_from_its_start_to_its_end(calls: list[tuple[Any, ...]]) -> None:
    assert [call for call in calls if call[1] == "good"] == [
        ("started", "good"),
        ("progress", "good", "1,200 of 2,400 images, 600/s, 2 s left", 1200, 2400),
        ("made", "good", "images:123456@v7", 2400, False),
        ("warned", "good", "balance", "pool: 1% of the examples"),
        ("ended", "good"),
    ]


def test_a_failed_step_is_one_sentence(calls: list[tuple[Any, ...]]) -> None:
    failures = {call[1]: call[2] for call in calls if call[0] == "failed"}
    assert failures == {
        "refused": "this lake belongs to another source: give it a new MM_LAKE",
        "broken": "ValueError: a [surprise]",
    }
    assert {("ended", "refused"), ("ended", "broken")} <= set(calls)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,500 of 2,000 images, 2/s, 3 s left", (1500, 2000)),
        ("step 30 of 180, loss 0.6158, 5.42 steps/s, 28 s left", (30, 180)),
        ("5 objects listed, 2/s", (None, None)),
        ("1,628 answers to give (1,639 images) with model c46b by transformers", (None, None)),
    ],
)
def test_what_counts_is_read_as_numbers(text: str, numbers: tuple[int | None, int | None]) -> None:
    assert numbers_of(text) == numbers


def test_the_lines_of_pace_are_read() -> None:
    lines: list[str] = []
    Pace("images", 2_000, lines.append, every_s=0).add(1_500)
    assert [numbers_of(line) for line in lines] == [(1_500, 2_000)]
