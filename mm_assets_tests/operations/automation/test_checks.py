"""A blocking check blocks what follows also where that would be another run."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData

from mm_assets.operations.automation.conditions import on_change
from mm_assets.operations.automation.runs import failed_checks, unfinished_checks, unfinished_run

SAYS: dict[str, Any] = {"passed": True, "severity": dg.AssetCheckSeverity.ERROR}


@dg.asset(code_version="1")
def above() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("1"))


@dg.asset(deps=[above], code_version="1", automation_condition=on_change())
def below() -> None: ...


@dg.asset_check(asset=above, blocking=True)
def coverage() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(**SAYS, metadata={"data_version": "1"})


@dg.asset_check(asset=above)
def is_nice() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, metadata={"data_version": "1"})


DEFINITIONS = dg.Definitions(assets=[above, below], asset_checks=[coverage, is_nice])
GRAPH = DEFINITIONS.resolve_asset_graph()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(instance: dg.DagsterInstance, *, passed: bool = True, severity: str = "ERROR") -> None:
    SAYS.update(passed=passed, severity=dg.AssetCheckSeverity[severity])
    selection = dg.AssetSelection.assets(above)
    everything = [above, below, coverage, is_nice]
    dg.materialize(everything, instance=instance, selection=selection, raise_on_error=False)


def planned(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run that is to materialize the asset and to make its checks, and has done neither."""
    job = DEFINITIONS.resolve_implicit_global_asset_job_def().get_subset(asset_selection={above.key})
    return instance.create_run_for_job(job, asset_selection=frozenset({above.key}), status=dg.DagsterRunStatus.STARTED)


def report_materialization(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """The run has materialized the asset; its checks are still to come."""
    materialization = dg.AssetMaterialization(
        above.key, tags={"dagster/data_version": "1", "dagster/code_version": "1"}
    )
    event = dg.DagsterEvent(
        "ASSET_MATERIALIZATION",
        event_specific_data=StepMaterializationData(materialization),
        job_name=run.job_name,
        step_key="above",
    )
    instance.report_dagster_event(event, run_id=run.run_id)


def is_asked(instance: dg.DagsterInstance) -> bool:
    return dg.evaluate_automation_conditions(DEFINITIONS, instance).get_num_requested(below.key) == 1


def test_what_follows_a_failed_blocking_check_waits(instance: dg.DagsterInstance) -> None:
    run(instance, passed=False)
    assert not is_asked(instance)
    assert failed_checks(instance, [above.key]) == ["above: coverage"]
    run(instance)
    assert is_asked(instance)
    assert failed_checks(instance, [above.key]) == []


def test_a_warning_holds_nothing(instance: dg.DagsterInstance) -> None:
    run(instance, passed=False, severity="WARN")
    assert failed_checks(instance, [above.key]) == []
    assert is_asked(instance)


def test_a_failure_stands_while_the_check_is_planned_again(instance: dg.DagsterInstance) -> None:
    run(instance, passed=False)
    again = planned(instance)
    assert failed_checks(instance, [above.key]) == ["above: coverage"]
    instance.report_run_canceled(again)
    assert failed_checks(instance, [above.key]) == ["above: coverage"]
    assert not is_asked(instance)


def test_a_failure_is_of_the_version_that_was_judged(instance: dg.DagsterInstance) -> None:
    run(instance, passed=False)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(above.key, tags={"dagster/data_version": "2", "dagster/code_version": "1"})
    )
    assert failed_checks(instance, [above.key]) == []


@pytest.mark.parametrize("end", ["failed", "canceled", "deleted"])
def test_what_follows_waits_for_a_blocking_check_that_is_being_made(instance: dg.DagsterInstance, end: str) -> None:
    going = planned(instance)
    report_materialization(instance, going)
    assert unfinished_run(instance, above.key) is None
    assert unfinished_checks(instance, GRAPH, [above.key]) == ["above: coverage"]
    assert not is_asked(instance)
    if end == "deleted":
        instance.delete_run(going.run_id)
        report_materialization(instance, planned_and_ended(instance))
    else:
        {"failed": instance.report_run_failed, "canceled": instance.report_run_canceled}[end](going)
    assert unfinished_checks(instance, GRAPH, [above.key]) == []
    assert is_asked(instance)  # a run that died without its checks holds nothing up


def planned_and_ended(instance: dg.DagsterInstance) -> dg.DagsterRun:
    run = planned(instance)
    instance.report_run_canceled(run)
    return run


def test_an_older_run_that_is_still_going_is_not_overlooked(instance: dg.DagsterInstance) -> None:
    older, newer = planned(instance), planned(instance)
    assert unfinished_run(instance, above.key) == older.run_id
    instance.report_run_canceled(newer)
    assert unfinished_run(instance, above.key) == older.run_id
    instance.report_run_canceled(older)
    assert unfinished_run(instance, above.key) is None
    assert unfinished_run(instance, below.key) is None
