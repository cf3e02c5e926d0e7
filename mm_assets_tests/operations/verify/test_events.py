"""Dagster's event log against the lake: what was reported by hand, wiped, told twice or otherwise."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.history import begin as beginning
from mm_assets.history import publish as publication
from mm_assets.lineage.records import Record
from mm_assets.operations.verify.dagster_log import DagsterLog, newest
from mm_assets.operations.verify.job import verify
from mm_assets.operations.verify.newest import verify_newest
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.events import Event
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.verifying import forged_step, put

KEY = dg.AssetKey("raw_images")


@pytest.fixture
def project(tmp_path: Path, few_pictures: Path) -> Project:
    """A lake with a listing, which needs no Ray, materialized twice: the second time nothing is new."""
    record = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    record.materialize("raw_images")
    record.materialize("raw_images")
    return record


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        yield instance


def check(project: Project, instance: dg.DagsterInstance) -> Report:
    return verify(project.tables, lambda _: None, DagsterLog(instance))


def lines(project: Project, instance: dg.DagsterInstance) -> list[str]:
    report = check(project, instance).disagreements
    assert {item.kind for item in report} <= {"event"}
    return [str(item) for item in report]


def report(instance: dg.DagsterInstance, version: str, **metadata: str) -> int:
    """Report a materialization by hand; the number of its event."""
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=metadata, tags=tags))
    return instance.fetch_materializations(KEY, limit=1).records[0].storage_id


def test_events_and_records_agree(project: Project, instance: dg.DagsterInstance) -> None:
    report = check(project, instance)
    assert report.disagreements == []
    assert (report.looked_at["events"], report.looked_at["materializations"]) == (2, 2)


def test_an_event_reported_by_hand(project: Project, instance: dg.DagsterInstance) -> None:
    version = project.newest()["raw_images"].data_version
    number = report(instance, version)
    sentence = "reported by hand: it names no record of the lake"
    assert lines(project, instance) == [f"raw_images {version}, event {number}: {sentence}"]


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
    sentence = "its record nobody's is not in lineage.lance"
    assert lines(project, instance) == [f"raw_images {version}, event {number}: {sentence}"]


def test_an_event_of_another_lake_is_named(project: Project, instance: dg.DagsterInstance) -> None:
    report(instance, "objects:ffffff@v2", lineage_record="another")
    result = check(project, instance)
    assert result.disagreements == []
    assert result.expected_leftovers["events of other lakes"] == 1


def test_events_that_were_wiped_are_named(project: Project, instance: dg.DagsterInstance) -> None:
    """Those of before, too, when the asset was materialized again: so ends what was reported by hand."""
    report(instance, project.newest()["raw_images"].data_version)
    assert len(lines(project, instance)) == 1
    instance.wipe_assets([KEY])
    for _ in range(2):
        result = check(project, instance)
        assert result.disagreements == []
        assert result.expected_leftovers["materializations whose events were wiped"] == 2
        project.materialize("raw_images")


class Changed(DagsterLog):
    """A log without some events, or by which other runs have succeeded."""

    def __init__(self, instance: dg.DagsterInstance, without: int = 0, run_id: str = "") -> None:
        super().__init__(instance)
        self._without, self._run_id = without, run_id

    def events(self) -> Iterator[Event]:
        return (event for event in super().events() if event.number != self._without)

    def succeeded(self, run_ids: Iterable[str]) -> Mapping[str, bool]:
        return {**super().succeeded(run_ids), self._run_id: True}


@pytest.mark.parametrize("which", [min, max])
def test_a_hole_in_the_log(project: Project, instance: dg.DagsterInstance, which: Callable[[Any], int]) -> None:
    lost_file = which(event.number for event in DagsterLog(instance).events())
    (item,) = verify(project.tables, lambda _: None, Changed(instance, lost_file)).disagreements
    assert str(item).endswith("succeeded, and Dagster has no event of it")


def test_events_that_were_taken_out_of_the_database_are_not_wiped(
    project: Project, instance: dg.DagsterInstance
) -> None:
    """All of an asset: what Dagster itself says of wiping counts, not that nothing is left."""
    for event in DagsterLog(instance).events():
        instance.event_log_storage.delete_events(event.run_id)
    assert list(DagsterLog(instance).events()) == []
    all_lines = lines(project, instance)
    assert len(all_lines) == 2
    assert all(line.endswith("succeeded, and Dagster has no event of it") for line in all_lines)


def test_a_commit_of_a_run_that_succeeded_and_materialized_nothing(
    project: Project, instance: dg.DagsterInstance
) -> None:
    step = forged_step(project.newest()["raw_images"], run_id="forged")
    row = project.tables.open("objects").to_table(limit=1).to_pylist()[0]
    put(project.tables, "objects", project.tables.open("objects").schema, "image_id", row, step)
    assert check(project, instance).disagreements == []  # of a run that nobody knows, or that was cut off
    (item,) = verify(project.tables, lambda _: None, Changed(instance, run_id="forged")).disagreements
    sentence = "a commit of raw_images by run forged, which succeeded and did not materialize it"
    assert (item.kind, str(item)) == ("commit", f"objects@v3: {sentence}")


@pytest.mark.parametrize("version", ["objects:ffffff", "images:ffffff@v2", "anything"])
def test_an_event_with_a_version_that_is_none(project: Project, instance: dg.DagsterInstance, version: str) -> None:
    number = report(instance, version, lineage_record="another")
    sentence = "its data version is none of objects.lance"
    assert lines(project, instance) == [f"raw_images {version}, event {number}: {sentence}"]


def test_an_event_whose_record_went_with_the_whole_history(project: Project, instance: dg.DagsterInstance) -> None:
    """The table has an id of its own, too."""
    shutil.rmtree(project.tables.uri("lineage"))
    sentences = [str(item) for item in check(project, instance).disagreements if item.kind == "event"]
    assert len(sentences) == 2
    assert all(line.endswith("is not in lineage.lance") for line in sentences)
    event = newest(instance, KEY)
    assert event
    report, looked_at = verify_newest(project.tables, "raw_images", event)
    assert looked_at is None
    assert any(item.kind == "event" for item in report.disagreements)


def test_events_of_a_copy_are_of_another_lake(project: Project, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(project.lake, copied)
    project.materialize("raw_images")
    report = verify(Lake(str(copied)), lambda _: None, DagsterLog(instance))
    assert report.disagreements == []
    assert report.expected_leftovers["events of other lakes"] == 1


def test_another_instance_does_not_know_the_runs(project: Project, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as other:
        report = check(project, other)
    assert report.disagreements == []
    assert report.expected_leftovers["materializations by another Dagster instance"] == 2


def test_a_run_that_died_before_its_event_is_named(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish: Callable[..., Record] = publication.publish

    def dying(*arguments: Any) -> Record:
        publish(*arguments)
        raise SystemError("the process dies between lineage row and event")

    with monkeypatch.context() as patch:
        patch.setattr(beginning, "publish", dying)
        project.materialize("raw_images", fails=True)
    report = check(project, instance)
    assert report.disagreements == []
    assert report.expected_leftovers["materializations whose run was cut off before the event"] == 1
