"""Any order of changes, stages, failures, crashes and upkeep: every table holds what plain dictionaries say."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mm_assets_tests.torture.machine import Settling

EXAMPLES, STEPS = 12, 12


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


def test_everything_is_cut_off_at_every_commit(machine: Settling) -> None:
    """One after the other, made or not; objects that come and go meanwhile are in no listing that was ever finished."""
    machine.run_all(retry=False)
    number, come = 0, ["b.png", "c.png", "d.png", "e.png", "f.png"]
    while machine.commits >= number:
        number += 1
        machine.revise("crc", str(number))
        changes = [("touch", "", 0), ("corrupt", "g.png", 0), *(("add", name, number % 7) for name in come)]
        machine.cut_off(changes, number, bool(number % 2), [])
        for name in come[:3]:
            machine.remove(name)
        machine.change([("add", come[3], number % 5), ("touch", "", 0)])
        machine.run_all(retry=False)
        if number % 4 == 0:
            machine.maintain()
        machine.every_table_holds_what_it_must()
    assert number > 12
