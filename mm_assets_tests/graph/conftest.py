"""Lakes that are made once: every test gets a copy, and a source that it can change."""

import shutil
from pathlib import Path

import pytest

from mm_assets_tests.kit.in_process import use_workers_in_process
from mm_assets_tests.kit.pictures import draw_few
from mm_assets_tests.kit.project import QUICK, UP_TO_DATASET, Project, copy_of


@pytest.fixture(scope="session")
def _few(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("few")
    shutil.copytree(draw_few(folder / "kept"), folder / "photos")
    project = Project(folder / "lake", folder / "photos", folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        use_workers_in_process(patch)
        project.materialize(*UP_TO_DATASET)
    return project


@pytest.fixture
def project(_few: Project, tmp_path: Path) -> Project:
    """25 objects, 23 of them pictures, materialized up to the dataset."""
    return copy_of(_few, tmp_path)


@pytest.fixture(scope="session")
def _sixty(tmp_path_factory: pytest.TempPathFactory, some_pictures: Path, cluster: object) -> Project:
    folder = tmp_path_factory.mktemp("sixty")
    for label in ("beach", "gym", "pool"):
        (folder / "kept" / label).mkdir(parents=True)
        for path in sorted((some_pictures / label).iterdir())[:20]:
            shutil.copy2(path, folder / "kept" / label)
    shutil.copytree(folder / "kept", folder / "photos")
    project = Project(folder / "lake", folder / "photos", folder / "home", dict(QUICK))
    with pytest.MonkeyPatch.context() as patch:
        use_workers_in_process(patch)
        project.materialize()
    return project


@pytest.fixture
def sixty(_sixty: Project, tmp_path: Path) -> Project:
    """20 pictures of three labels, in a folder that can be changed, and everything made from them."""
    return copy_of(_sixty, tmp_path)
