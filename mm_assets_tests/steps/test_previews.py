"""Previews are drawn once for each data version: a step with nothing to do takes them from the event before."""

from pathlib import Path
from typing import Any

import pytest

from mm_assets_tests.kit.lake_rows import calls_of
from mm_assets_tests.kit.project import Project


@pytest.fixture
def listed(tmp_path: Path, few_pictures: Path) -> Project:
    """A lake whose listing was materialized once."""
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    project.materialize("raw_images")
    return project


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, listed: Project) -> list[tuple[Any, ...]]:
    """The arguments of every call that draws the previews of the listing."""
    from mm_assets.stages.ingest import previews

    return calls_of(monkeypatch, previews, "previews")


def preview(project: Project) -> str:
    return str(project.events("raw_images")[0].metadata["preview_labels"].value)


def test_a_reused_version_is_not_drawn_again(listed: Project, drawn: list[tuple[Any, ...]]) -> None:
    first = preview(listed)
    listed.materialize("raw_images")
    assert drawn == []
    assert preview(listed) == first
    assert "](data:image/" in first
    assert [event.metadata["source"].value for event in listed.events("raw_images", 2)] == [f"`{listed.source}`"] * 2


def test_a_new_version_is_drawn(listed: Project, drawn: list[tuple[Any, ...]]) -> None:
    first = preview(listed)
    (Path(listed.source) / "sauna").mkdir()
    (Path(listed.source) / "sauna" / "1.png").write_bytes(b"no image, but listed")
    listed.materialize("raw_images")
    assert len(drawn) == 1
    assert preview(listed) != first


def test_an_instance_that_knows_no_event_draws(listed: Project, drawn: list[tuple[Any, ...]], tmp_path: Path) -> None:
    fresh = Project(listed.lake, listed.source, tmp_path / "fresh")
    fresh.materialize("raw_images")
    assert len(drawn) == 1
    assert preview(fresh) == preview(listed)


def test_an_event_of_another_lake_is_not_taken(listed: Project, drawn: list[tuple[Any, ...]], tmp_path: Path) -> None:
    other = Project(tmp_path / "other", listed.source, tmp_path / "elsewhere")
    other.materialize("raw_images")
    one_instance = Project(other.lake, listed.source, listed.home)
    one_instance.materialize("raw_images")
    assert len(drawn) == 2


def test_a_moved_lake_keeps_its_previews(listed: Project, drawn: list[tuple[Any, ...]]) -> None:
    moved = Project(Path(listed.lake).rename(Path(listed.lake).with_name("moved")), listed.source, listed.home)
    moved.materialize("raw_images")
    assert drawn == []


def test_what_could_not_be_drawn_is_drawn_when_it_can(listed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, str]:
        raise OSError("no font")

    fresh = Project(listed.lake, listed.source, listed.home.with_name("fresh"))
    with monkeypatch.context() as patch:
        patch.setattr("mm_assets.stages.ingest.previews.previews", broken)
        fresh.materialize("raw_images")
    assert fresh.events("raw_images")[0].metadata["preview_error"].value == "OSError: no font"
    fresh.materialize("raw_images")
    assert "preview_error" not in fresh.events("raw_images")[0].metadata
    assert preview(fresh) == preview(listed)
