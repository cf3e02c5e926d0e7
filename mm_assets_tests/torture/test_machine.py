"""Any order of changes, stages, failures, crashes and upkeep: every table holds what plain dictionaries say."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mm_assets_tests.torture.machine import Settling

EXAMPLES, STEPS = 20, 24


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
