"""Any order of changes, stages, failures, crashes and upkeep: every table holds what plain dictionaries say."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mm_assets_tests.torture.machine import Settling
from mm_assets_tests.torture.stages import INGEST, LIST

EXAMPLES, STEPS = 12, 20


def test_every_table_holds_what_the_oracle_says() -> None:
    how = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Settling, settings=how)


@pytest.fixture
def machine() -> Iterator[Settling]:
    made = Settling()
    made.begin(0)
    yield made
    made.teardown()


@pytest.mark.parametrize("upkeep", [False, True])
def test_objects_that_come_and_go_while_runs_are_cut_off(machine: Settling, upkeep: bool) -> None:
    """Their rows are of no listing that was ever finished, and are taken out all the same."""
    machine.run_all(retry=False)
    machine.change([("add", f"{letter}.png", 1) for letter in "bcdefgh"])
    machine.run(LIST, retry=False)
    machine.crash(INGEST, retry=False, number=1, made=True)
    machine.change([("remove", "b.png", 0), ("remove", "c.png", 0)])
    if upkeep:
        machine.maintain()
    machine.run_all(retry=False)
    assert set(machine._images()) == set(machine.oracle.source) == {f"{letter}.png" for letter in "adefgh"}
