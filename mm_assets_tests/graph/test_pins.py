"""What a step reads and what is recorded agree, also when others write meanwhile; and the refusals."""

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mm_assets.engines.lake.changes import Synced, sync_rows
from mm_assets_tests.kit.project import UP_TO_DATASET, Project, failure_of

# What a step reads and records depends neither on where its workers are, nor on what is drawn of it.
pytestmark = pytest.mark.usefixtures("workers_in_process", "nothing_drawn")


def add_picture(project: Project, name: str) -> None:
    Image.effect_noise((96, 96), 60).convert("RGB").save(Path(project.source) / "pool" / name)


def input_version(project: Project, asset: str, of: str) -> str:
    return (project.events(asset)[0].tags or {})[f"dagster/input_data_version/{of}"]


@contextmanager
def race(monkeypatch: pytest.MonkeyPatch, where: str, project: Project) -> Iterator[None]:
    """Let a whole run of its upstream come before the first call of a function in a step of near_duplicates."""
    module, _, name = where.rpartition(".")
    original = getattr(importlib.import_module(module), name)
    state = {"raced": False}

    def racing(*args: Any) -> Any:
        if not state["raced"]:
            state["raced"] = True
            add_picture(project, "raced.png")
            project.materialize("raw_images", "image_table", "scores/phash")
        return original(*args)

    monkeypatch.setattr(where, racing)
    yield
    assert state["raced"]


def rows_of_groups(project: Project) -> int:
    return int(project.newest()["scores/near_duplicates"].metadata["rows"])


def test_an_upstream_that_moves_before_the_pin_is_read_and_recorded_new(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster took its own snapshot when the step began; what is recorded must be what was read."""
    before = project.data_versions()["scores/phash"]
    with race(monkeypatch, "mm_assets.steps.materialize._begin", project):
        project.materialize("scores/near_duplicates")
    after = project.newest()["scores/phash"].data_version
    assert after != before
    assert input_version(project, "scores/near_duplicates", "scores/phash") == after
    assert rows_of_groups(project) == 24


def test_an_upstream_that_moves_after_the_pin_is_neither_read_nor_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = project.data_versions()["scores/phash"]
    with race(monkeypatch, "mm_assets.history.begin.StepContext", project):
        project.materialize("scores/near_duplicates")
    assert project.newest()["scores/phash"].data_version != before
    assert input_version(project, "scores/near_duplicates", "scores/phash") == before
    assert rows_of_groups(project) == 23


def test_the_dataset_alone_pins_the_earlier_versions(project: Project) -> None:
    before = project.data_versions()
    project.materialize("sft_dataset")
    assert project.data_versions() == before
    assert input_version(project, "sft_dataset", "image_table") == before["image_table"]


def test_a_lake_without_the_inputs_is_refused_with_a_sentence(tmp_path: Path, few_pictures: Path) -> None:
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    found = project.command("asset", "materialize", "--select", "sft_dataset", "-m", "mm_assets.definitions")
    assert found.returncode == 1
    assert f"base_model is not in the lake {project.lake} yet: materialize base_model first" in found.stderr


def test_a_broken_diamond_is_refused_with_what_to_do(project: Project) -> None:
    for number in range(24):
        add_picture(project, f"new-{number}.png")
    old = project.newest()["image_table"].data_version
    project.materialize("raw_images", "image_table", "scores/sharpness")
    new = project.newest()["image_table"].ref.version
    sentence = (
        f"scores/entropy, scores/exposure, scores/near_duplicates were computed on {old}, image_table is at @v{new}: "
        "materialize scores/entropy, scores/exposure, scores/phash, scores/near_duplicates first"
    )
    assert sentence in failure_of(project.materialize("sft_dataset", fails=True))
    project.materialize("scores/entropy", "scores/exposure", "scores/phash", "scores/near_duplicates", "sft_dataset")
    assert project.newest()["sft_dataset"].metadata["rows"] == 49


def test_another_source_is_refused_and_names_the_lake(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.source, tmp_path / "other")
    project.source = tmp_path / "other"
    sentence = failure_of(project.materialize("raw_images", fails=True))
    assert "set MM_LAKE to a new folder" in sentence


def test_one_class_only_is_refused_by_name(tmp_path: Path, few_pictures: Path) -> None:
    shutil.rmtree(few_pictures / "gym")
    shutil.rmtree(few_pictures / "beach")
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    sentence = failure_of(project.materialize(*UP_TO_DATASET, fails=True))
    assert "source (MM_SOURCE): one class only (pool) is left of 9 images" in sentence


def test_a_changed_picture_reaches_the_dataset_as_one_row(project: Project) -> None:
    dataset = project.tables.open("sft")
    before = {row["example_id"]: row for row in dataset.to_table(with_row_id=True).to_pylist()}
    Image.effect_noise((96, 96), 60).convert("RGB").save(Path(project.source) / "pool" / "2.png")
    project.materialize(*UP_TO_DATASET)
    after = {row["example_id"]: row for row in project.tables.open("sft").to_table(with_row_id=True).to_pylist()}
    assert {key for key in before if before[key] != after[key]} == {"label:pool/2.png"}


def test_a_crash_before_the_lineage_row_is_healed_by_the_next_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_picture(project, "new.png")

    def crash(*_: object) -> None:
        raise SystemError("the process dies between commit and lineage row")

    with monkeypatch.context() as patch:
        patch.setattr("mm_assets.history.begin.publish", crash)
        project.materialize("raw_images", fails=True)
    version = project.tables.open("objects").version
    assert project.newest()["raw_images"].ref.version < version
    project.materialize("raw_images")
    assert project.tables.open("objects").version == version
    assert project.newest()["raw_images"].ref.version == version


def test_a_run_does_not_take_what_another_run_wrote_for_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two listings overlap; the outer one finds nothing to write."""
    before = project.newest()["raw_images"].data_version
    state = {"raced": False}

    def racing(*arguments: Any) -> Any:
        if state["raced"]:
            return sync_rows(*arguments)
        state["raced"] = True
        add_picture(project, "raced.png")
        project.materialize("raw_images")
        return Synced()

    monkeypatch.setattr("mm_assets.stages.ingest.job.sync_rows", racing)
    project.materialize("raw_images")
    outer, inner = project.events("raw_images", limit=2)
    assert (outer.tags or {})["dagster/data_version"] == before
    assert (inner.tags or {})["dagster/data_version"] != before


def test_going_back_to_an_earlier_base_is_a_version_of_its_own(project: Project) -> None:
    found = []
    for seed in ("1", "0"):
        project.env = {"MM_BASE__SEED": seed}
        project.materialize("base_model")
        found.append(project.newest()["base_model"])
    assert found[0].metadata["digest"] != found[1].metadata["digest"]
    assert found[0].data_version != found[1].data_version


def test_a_limit_that_leaves_nothing_to_learn_from_is_named(project: Project) -> None:
    project.env = {"MM_CURATE__MAX_TOKENS": "10"}
    sentence = failure_of(project.materialize("sft_dataset", fails=True))
    assert "no usable example is left of 25 images" in sentence
    assert "max_tokens is 10" in sentence
