"""However an asset comes to run: the inputs that are recorded are those that were read, and the history holds."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import lance
import pytest
from PIL import Image

from mm_assets.definitions import build
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext
from mm_assets.operations.upkeep.job import maintain
from mm_assets.operations.verify.dagster_log import DagsterLog
from mm_assets.operations.verify.job import verify
from mm_assets.operations.verify.report import Report
from mm_assets.resources import LakeResource
from mm_assets.settings import UpkeepSettings, load_settings
from mm_assets.stages.curate import job as curate
from mm_assets.stages.score import grouping
from mm_assets.steps import materialize as pins
from mm_assets_tests.kit.project import UP_TO_DATASET as ALL
from mm_assets_tests.kit.project import Project

# What a step reads and records depends neither on where its workers are, nor on what is drawn of it.
pytestmark = pytest.mark.usefixtures("workers_in_process", "nothing_drawn")

SCORES = ("scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash")
UPSTREAM = ("raw_images", "image_table", *SCORES)
GROUPS, DATASET = "scores/near_duplicates", "sft_dataset"


def add_picture(project: Project, name: str) -> None:
    Image.effect_noise((96, 96), 60).convert("RGB").save(Path(project.source) / "pool" / name)


@dataclass
class Reads:
    """The versions of the image table that the steps of an asset read, by run."""

    found: dict[str, set[LanceRef]] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Notes what grouping and the dataset open at a pinned version; both work in this process."""
    seen = Reads()
    open_at = Lake.open_at

    def noted(self: Lake, ref: LanceRef) -> lance.LanceDataset:
        if seen.running and ref.table == "images":
            seen.found[seen.running[-1]].add(ref)
        return open_at(self, ref)

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(step: StepContext, *arguments: Any) -> Any:
            key = f"{step.run_id}:{step.key}"
            seen.found[key] = set()
            seen.running.append(key)
            try:
                return function(step, *arguments)
            finally:
                seen.running.pop()

        return run

    monkeypatch.setattr(Lake, "open_at", noted)
    monkeypatch.setattr(grouping, "group_duplicates", watched(grouping.group_duplicates))
    monkeypatch.setattr(curate, "build_dataset", watched(curate.build_dataset))
    return seen


def recorded(project: Project, asset: str) -> set[str]:
    """The versions of the image table that Dagster has as the inputs of the newest materialization."""
    tags = project.events(asset)[0].tags or {}
    inputs = {name: value for name, value in tags.items() if name.startswith("dagster/input_data_version/")}
    return {value for value in inputs.values() if value.startswith("images:")}


def assert_read_is_recorded(project: Project, reads: Reads) -> None:
    """What is recorded was read; of the dataset nothing newer was. (Older versions tell what changed since; groups also
    read their own columns, which stand in newer versions of the same table.)
    """
    for asset in (GROUPS, DATASET):
        record = project.newest()[asset]
        read = reads.found[f"{record.run_id}:{record.step}"]
        said = recorded(project, asset)
        assert said <= {str(ref) for ref in read}, asset
        if asset == DATASET:
            assert str(max(read, key=lambda ref: ref.version)) in said
    assert proof(project).disagreements == []


def proof(project: Project) -> Report:
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        return verify(project.tables, lambda line: None, DagsterLog(instance))


def images_of(project: Project, asset: str) -> int:
    """The rows that an asset answers for."""
    return int(project.newest()[asset].metadata["rows"])


def test_in_one_run(project: Project, reads: Reads) -> None:
    add_picture(project, "new.png")
    project.materialize(*ALL)
    assert_read_is_recorded(project, reads)
    assert (images_of(project, GROUPS), images_of(project, DATASET)) == (24, 26)


def test_in_runs_of_their_own(project: Project, reads: Reads) -> None:
    add_picture(project, "new.png")
    for asset in ALL:
        project.materialize(asset)
    assert_read_is_recorded(project, reads)
    assert images_of(project, DATASET) == 26


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, before: str, work: Callable[[], None]) -> Iterator[None]:
    """Do something just before an asset's step pins its inputs, once."""
    begin = pins._begin
    waiting = [work]

    def racing(context: dg.AssetExecutionContext, lake: LakeResource) -> Any:
        names = {key.to_user_string() for key in context.selected_asset_keys}
        if before in names and waiting:
            waiting.pop()()
        return begin(context, lake)

    monkeypatch.setattr(pins, "_begin", racing)
    yield
    assert not waiting


@pytest.mark.parametrize("before", ["image_table", "scores/phash", GROUPS, DATASET])
def test_two_runs_interleaved(project: Project, reads: Reads, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Another whole run comes between two steps of one: each reads what is newest when its step begins."""

    def another() -> None:
        add_picture(project, "theirs.png")
        project.materialize(*ALL)

    add_picture(project, "ours.png")
    with interrupted(monkeypatch, before, another):
        project.materialize(*ALL)
    assert_read_is_recorded(project, reads)
    assert images_of(project, DATASET) == 27


def test_an_upstream_moves_in_the_middle_of_a_step(
    project: Project, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mm_assets.stages.curate.inputs import joined

    moved: list[str] = []

    def racing(*arguments: Any) -> Any:
        if not moved:
            moved.append(project.newest()["image_table"].data_version)
            add_picture(project, "theirs.png")
            reading, reads.running = reads.running, []  # what the other run reads is not this step's
            project.materialize(*UPSTREAM)
            reads.running = reading
        return joined(*arguments)

    monkeypatch.setattr(curate, "joined", racing)
    project.env = {"MM_CURATE__LIMITS": '{"entropy": {"min": 0.5}}'}  # so that the dataset is made anew
    project.materialize(GROUPS, DATASET)
    assert moved[0] in recorded(project, DATASET)
    assert project.newest()["image_table"].data_version != moved[0]
    assert images_of(project, DATASET) == 25
    assert_read_is_recorded(project, reads)


def graph() -> dg.JobDefinition:
    """A job of the settings in the environment, for Dagster's re-execution."""
    return build(load_settings()).resolve_job_def("refresh_without_training")


def test_a_run_executed_again_from_its_failure(project: Project, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream moved between the failure and the second try, whose step reads what is newest then."""
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    add_picture(project, "new.png")
    keys = [dg.AssetKey(name.split("/")) for name in ALL]
    job = dg.reconstructable(graph)
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        with monkeypatch.context() as patch:
            patch.setattr(curate, "build_dataset", _fails)
            failed = dg.execute_job(job, instance=instance, asset_selection=keys, raise_on_error=False)
        assert not failed.success
        add_picture(project, "later.png")
        project.materialize(*UPSTREAM, GROUPS)
        again = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        with dg.execute_job(
            job, instance=instance, asset_selection=keys, reexecution_options=again, raise_on_error=False
        ) as found:
            assert found.success
    assert project.newest()[DATASET].run_id == found.run_id
    assert images_of(project, DATASET) == 27
    assert_read_is_recorded(project, reads)


def _fails(*_: Any) -> Any:
    raise RuntimeError("the machine has gone")


def test_a_step_that_is_tried_again(project: Project, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = curate.build_dataset
    tries: list[str] = []

    def flaky(*arguments: Any) -> Any:
        tries.append("try")
        if len(tries) == 1:
            add_picture(project, "later.png")
            project.materialize(*UPSTREAM, GROUPS)
            raise dg.RetryRequested(max_retries=1)
        return watched(*arguments)

    monkeypatch.setattr(curate, "build_dataset", flaky)
    project.materialize(GROUPS, DATASET)
    assert len(tries) == 2
    assert images_of(project, DATASET) == 26
    assert_read_is_recorded(project, reads)


def test_a_table_that_was_dropped_and_made_again(project: Project, reads: Reads) -> None:
    before = project.newest()["image_table"].ref
    shutil.rmtree(project.tables.uri("images"))
    project.materialize(DATASET, fails=True)  # what it was made from is gone
    assert proof(project).disagreements
    project.materialize(*ALL)
    assert project.newest()["image_table"].ref.table_id != before.table_id
    assert all(before.table_id[:6] not in version for version in recorded(project, DATASET))
    assert_read_is_recorded(project, reads)


def test_a_table_that_was_compacted(project: Project, reads: Reads) -> None:
    for number in range(3):
        add_picture(project, f"more-{number}.png")
        project.materialize("raw_images", "image_table")
    pinned = project.newest()["image_table"].ref.version
    maintain(project.tables, UpkeepSettings(grace_seconds=0), "night", lambda line: None)
    assert project.tables.open("images").version > pinned
    project.materialize(*SCORES, GROUPS, DATASET)
    assert project.newest()["image_table"].ref.version == pinned
    assert images_of(project, DATASET) == 28
    assert_read_is_recorded(project, reads)


def test_a_table_that_somebody_wrote_outside(project: Project, reads: Reads) -> None:
    """What reads it does not see it; the table's own next run puts it right."""
    project.tables.open("images").delete("label = 'gym'")
    outside = project.tables.open("images").version
    project.env = {"MM_CURATE__LIMITS": '{"entropy": {"min": 0.5}}'}
    project.materialize(GROUPS, DATASET)
    assert images_of(project, DATASET) == 25
    record = project.newest()[DATASET]
    assert max(ref.version for ref in reads.found[f"{record.run_id}:{record.step}"]) < outside
    assert [item.where for item in proof(project).disagreements] == [f"images@v{outside}"]
    project.materialize(*ALL)
    assert project.newest()["image_table"].ref.version > outside
    assert project.tables.open("images").count_rows() == 25
    assert images_of(project, DATASET) == 25
    assert [item.where for item in proof(project).disagreements] == [f"images@v{outside}"]
