"""Dagster's event log against the lake: what was reported by hand, wiped, told twice or otherwise."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_assets.lineage.refs import Record
from mm_assets.verify.dagster_log import DagsterLog
from mm_assets.verify.job import verify
from mm_assets.verify.report import Report
from mm_assets_tests.project import Project

KEY = dg.AssetKey("raw_images")


@pytest.fixture
def project(tmp_path: Path, few_pictures: Path) -> Project:
    """A lake with a listing, which needs no Ray, materialized twice: the second time nothing is new."""
    made = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    made.materialize("raw_images")
    made.materialize("raw_images")
    return made


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(project.home)) as found:
        yield found


def check(project: Project, instance: dg.DagsterInstance) -> Report:
    return verify(project.tables, lambda _: None, DagsterLog(instance))


def lines(project: Project, instance: dg.DagsterInstance) -> list[str]:
    found = check(project, instance).disagreements
    assert {item.kind for item in found} <= {"event"}
    return [str(item) for item in found]


def report(instance: dg.DagsterInstance, version: str, **metadata: str) -> int:
    """Report a materialization by hand; the number of its event."""
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=metadata, tags=tags))
    return instance.fetch_materializations(KEY, limit=1).records[0].storage_id


def test_events_and_records_agree(project: Project, instance: dg.DagsterInstance) -> None:
    found = check(project, instance)
    assert found.disagreements == []
    assert (found.looked_at["events"], found.looked_at["materializations"]) == (2, 2)


def test_an_event_reported_by_hand(project: Project, instance: dg.DagsterInstance) -> None:
    version = project.newest()["raw_images"].data_version
    number = report(instance, version)
    said = "reported by hand: it names no record of the lake"
    assert lines(project, instance) == [f"raw_images {version}, event {number}: {said}"]


def test_an_event_that_names_a_record_for_itself(project: Project, instance: dg.DagsterInstance) -> None:
    record = project.newest()["raw_images"]
    version = record.data_version.replace("@v2", "@v99")
    number = report(instance, version, lineage_record=record.id)
    where = f"raw_images {version}, event {number}"
    twice, other, run = lines(project, instance)
    assert twice.startswith(f"{where}: its record has an event already, ")
    assert other == f"{where}: data version: Dagster says {version}, lineage.lance {record.data_version}"
    assert run == f"{where}: run: Dagster says , lineage.lance {record.run_id}"


def test_an_event_of_a_record_that_does_not_exist(project: Project, instance: dg.DagsterInstance) -> None:
    version = project.newest()["raw_images"].data_version
    number = report(instance, version, lineage_record="nobody's")
    said = "its record nobody's is not in lineage.lance"
    assert lines(project, instance) == [f"raw_images {version}, event {number}: {said}"]


def test_an_event_of_another_lake_is_named(project: Project, instance: dg.DagsterInstance) -> None:
    report(instance, "objects:ffffff@v2", lineage_record="another")
    found = check(project, instance)
    assert found.disagreements == []
    assert found.named["events of other lakes"] == 1


def test_events_that_were_wiped(project: Project, instance: dg.DagsterInstance) -> None:
    instance.wipe_assets([KEY])
    first, second = lines(project, instance)
    assert first.endswith("succeeded, and Dagster has no event of it")
    assert second.endswith("succeeded, and Dagster has no event of it")


def test_another_instance_does_not_know_the_runs(project: Project, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as other:
        found = check(project, other)
    assert found.disagreements == []
    assert found.named["materializations by another Dagster instance"] == 2


def test_a_run_that_died_before_its_event_is_named(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mm_assets.engines import publication

    publish: Callable[..., Record] = publication.publish

    def dying(*arguments: Any) -> Record:
        publish(*arguments)
        raise SystemError("the process dies between lineage row and event")

    with monkeypatch.context() as patch:
        patch.setattr(publication, "publish", dying)
        project.materialize("raw_images", fails=True)
    found = check(project, instance)
    assert found.disagreements == []
    assert found.named["materializations whose run was cut off before the event"] == 1
