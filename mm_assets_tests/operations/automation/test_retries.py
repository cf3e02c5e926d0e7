"""Which runs get another attempt, by the project's own dagster.yaml."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

YAML = Path(__file__).parents[3] / "dagster.yaml"


@dg.op
def fails() -> None:
    raise dg.Failure("as it would again")


@dg.job
def one_step() -> None:
    fails()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copy(YAML, tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def crashed(instance: dg.DagsterInstance, first: str | None) -> str:
    """The id of a run whose process is gone, as the code server reports it; another attempt at a first one."""
    group = {"dagster/root_run_id": first, "dagster/parent_run_id": first} if first else None
    run = instance.create_run_for_job(
        one_step, status=dg.DagsterRunStatus.STARTED, tags=group, parent_run_id=first, root_run_id=first
    )
    instance.report_run_failed(run)
    return run.run_id


def will_retry(instance: dg.DagsterInstance, run_id: str) -> str | None:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags.get("dagster/will_retry")


def test_a_run_that_crashed_gets_two_more_attempts(instance: dg.DagsterInstance) -> None:
    first = crashed(instance, None)
    attempts = [first, crashed(instance, first), crashed(instance, first)]
    assert [will_retry(instance, run_id) for run_id in attempts] == ["true", "true", "false"]


def test_a_step_that_failed_is_not_repeated(instance: dg.DagsterInstance) -> None:
    done = one_step.execute_in_process(instance=instance, raise_on_error=False)
    assert will_retry(instance, done.run_id) == "false"


def test_a_cancelled_run_is_not_repeated(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(one_step, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_canceled(run)
    assert will_retry(instance, run.run_id) is None
