"""Lakes that are made once: every test gets a copy, and a source that it can change."""

import shutil
from pathlib import Path

import pytest

from mm_assets_tests.conftest import draw_few
from mm_assets_tests.kit.project import QUICK, Project

UP_TO_DATASET = (
    "raw_images", "image_table", "scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash",
    "scores/near_duplicates", "base_model", "sft_dataset",
)  # fmt: skip

WITHOUT_TRAINING = (*UP_TO_DATASET, "batch_predictions")


def copy_of(made: Project, folder: Path) -> Project:
    """A copy of lake and history. The source is one place for all, for a lake belongs to it, and as it was at first."""
    source = Path(made.source)
    shutil.rmtree(source)
    shutil.copytree(source.with_name("kept"), source)
    return made.copied(folder)


@pytest.fixture(scope="session")
def _few(tmp_path_factory: pytest.TempPathFactory, cluster: object) -> Project:
    folder = tmp_path_factory.mktemp("few")
    shutil.copytree(draw_few(folder / "kept"), folder / "photos")
    project = Project(folder / "lake", folder / "photos", folder / "home")
    project.materialize(*UP_TO_DATASET)
    return project


@pytest.fixture
def project(_few: Project, tmp_path: Path) -> Project:
    """25 objects, 23 of them pictures, materialized up to the dataset."""
    return copy_of(_few, tmp_path)


@pytest.fixture
def sixty(tmp_path: Path, some_pictures: Path, cluster: object) -> Project:
    """20 pictures of three labels, in a folder that can be changed; nothing is materialized yet."""
    for label in ("beach", "gym", "pool"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for path in sorted((some_pictures / label).iterdir())[:20]:
            shutil.copy2(path, tmp_path / "photos" / label)
    return Project(tmp_path / "lake", tmp_path / "photos", tmp_path / "home", dict(QUICK))
