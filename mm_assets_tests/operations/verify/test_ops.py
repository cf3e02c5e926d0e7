"""The command, the job and the check, on a lake with a listing; what is found is asserted beside."""

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from mm_assets.steps.gates import require_unblocked
from mm_assets_tests.kit.project import Project, failure_of

SAID = "Delete, made outside: no step, no maintenance run and not the lake's history accounts for it"


@pytest.fixture
def project(tmp_path: Path, few_pictures: Path) -> Project:
    record = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    record.materialize("raw_images")
    return record


def forge(project: Project) -> str:
    project.tables.open("objects").delete("label = 'gym'")
    return f"commit: objects@v3: {SAID}"


def run_job(project: Project, name: str) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        job = project.definitions().resolve_job_def(name)
        return job.execute_in_process(instance=instance, raise_on_error=False)


def test_the_command_says_that_all_is_well_and_what_it_looked_at(project: Project) -> None:
    process = project.command("verify", module="mm-assets")
    assert process.returncode == 0, process.stderr
    assert process.stdout == "0 disagreements; looked at 4 commits, 1 events, 2 files, 1 materializations, 1 tags\n"
    values = json.loads(project.command("verify", "--deep", "--json", module="mm-assets").stdout)
    assert (values["disagreements"], values["deep"], values["lake"]) == ([], True, str(project.lake))
    assert values["looked_at"]["events"] == 1


def test_the_command_ends_with_1_and_a_line_for_each_disagreement(project: Project) -> None:
    line = forge(project)
    process = project.command("verify", module="mm-assets")
    assert (process.returncode, process.stdout.splitlines()[0]) == (1, line)
    values = json.loads(project.command("verify", "--json", module="mm-assets").stdout)
    assert values["disagreements"] == [{"kind": "commit", "where": "objects@v3", "said": SAID}]


def test_a_lake_that_is_empty_or_cannot_be_read_is_a_sentence(tmp_path: Path, few_pictures: Path) -> None:
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    process = project.command("verify", module="mm-assets")
    assert process.returncode == 1
    assert "nothing was materialized" in process.stderr


def test_the_job_fails_with_the_lines_and_changes_nothing(project: Project) -> None:
    assert run_job(project, "verify").success
    line = forge(project)
    before = project.table_versions()
    result = run_job(project, "verify")
    assert not result.success
    assert f"1 disagreement\n{line.removeprefix('commit: ')}" in failure_of(result)
    assert project.table_versions() == before


def evaluation(project: Project, run: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (result,) = [item for item in run.get_asset_check_evaluations() if item.check_name == "lineage_verified"]
    return result


def test_every_asset_has_the_check_and_a_materialization_passes_it(project: Project) -> None:
    keys = project.definitions().resolve_asset_graph().asset_check_keys
    assert sum(key.name == "lineage_verified" for key in keys) == 13
    result = evaluation(project, project.materialize("raw_images"))
    assert result.passed
    assert result.description == f"{project.newest()['raw_images'].data_version} is what was read and written"


def run_check(project: Project) -> dg.AssetCheckEvaluation:
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("raw_images"), "lineage_verified")
        job = project.definitions().resolve_implicit_global_asset_job_def()
        selected = job.get_subset(asset_selection=set(), asset_check_selection={key})
        return evaluation(project, selected.execute_in_process(instance=instance, raise_on_error=False))


def test_what_fails_the_check_is_read_by_no_step_until_it_passes(project: Project) -> None:
    version = project.newest()["raw_images"].data_version
    project.tables.open("objects").tags.delete("raw_images.v2")
    result = run_check(project)
    assert not result.passed
    assert "objects, raw_images.v2: is missing: a clean-up may remove" in (result.description or "")
    sentence = failure_of(project.materialize("image_table", fails=True))
    assert f"raw_images at {version} failed its check lineage_verified (1 disagreement" in sentence
    project.tables.open("objects").tags.create("raw_images.v2", 2)
    assert run_check(project).passed
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        require_unblocked(instance, project.newest()["raw_images"])


def test_an_instance_that_knows_no_materialization_checks_the_lakes_own(project: Project) -> None:
    """And what it has failed is read by no step there either."""
    version = project.newest()["raw_images"].data_version
    project = replace(project, home=project.home.with_name("another"))
    assert run_check(project).description == f"{version} is what was read and written"
    project.tables.open("objects").tags.delete("raw_images.v2")
    assert not run_check(project).passed
    sentence = failure_of(project.materialize("image_table", fails=True))
    assert f"raw_images at {version} failed its check lineage_verified (1 disagreement" in sentence
