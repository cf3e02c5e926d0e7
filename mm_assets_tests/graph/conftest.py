"""A small lake, materialized up to the dataset once; every test gets a copy, and a source that it can change."""

import shutil
from pathlib import Path

import pytest

from mm_assets_tests.conftest import draw_few
from mm_assets_tests.project import Project

UP_TO_DATASET = (
    "raw_images", "image_table", "scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash",
    "scores/near_duplicates", "base_model", "sft_dataset",
)  # fmt: skip


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory, cluster: object) -> Project:
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(draw_few(folder / "kept"), folder / "photos")
    project = Project(folder / "lake", folder / "photos", folder / "home")
    project.materialize(*UP_TO_DATASET)
    return project


@pytest.fixture
def project(_made: Project, tmp_path: Path) -> Project:
    """25 objects, 23 of them pictures. The source is the same place for all, for a lake belongs to one."""
    source = Path(_made.source)
    shutil.rmtree(source)
    shutil.copytree(source.with_name("kept"), source)
    shutil.copytree(_made.lake, tmp_path / "lake")
    shutil.copytree(_made.home, tmp_path / "home")
    return Project(tmp_path / "lake", source, tmp_path / "home")
