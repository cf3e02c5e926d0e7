"""A blocking check blocks what follows also where that would be another run."""

from collections.abc import Iterator

import dagster as dg
import pytest

from mm_assets.automation.conditions import on_change
from mm_assets.automation.runs import failed_checks

PASSES = {"now": True}


@dg.asset(code_version="1")
def above() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("1"))


@dg.asset(deps=[above], code_version="1", automation_condition=on_change())
def below() -> None: ...


@dg.asset_check(asset=above, blocking=True)
def is_good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=PASSES["now"])


@dg.asset_check(asset=above)
def is_nice() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_what_follows_a_failed_blocking_check_waits(instance: dg.DagsterInstance) -> None:
    definitions = dg.Definitions(assets=[above, below], asset_checks=[is_good, is_nice])
    graph = definitions.resolve_asset_graph()
    for passes in (False, True):
        PASSES["now"] = passes
        selection = dg.AssetSelection.assets(above)
        done = dg.materialize(
            [above, below, is_good, is_nice], instance=instance, selection=selection, raise_on_error=False
        )
        assert done.success == passes
        asked = dg.evaluate_automation_conditions(definitions, instance).get_num_requested(below.key)
        assert asked == (1 if passes else 0)
        assert failed_checks(instance, graph, [above.key]) == ([] if passes else ["is_good"])
