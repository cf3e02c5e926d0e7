"""A lake with a past: two rounds of everything, between which images were changed, removed and added."""

import shutil
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets_tests.kit.reused_dataset import Reused, reused_dataset
from mm_assets_tests.kit.two_rounds import Rounds, change_pictures, first_pictures, refresh


@pytest.fixture(scope="session")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """For reading: a test that changes it takes `own_rounds`."""
    place = tmp_path_factory.mktemp("rounds")
    tables, folder = Lake(str(place / "lake")), place / "photos"
    first_pictures(folder)
    first = refresh(tables, folder, seed=1)
    change_pictures(folder)
    return Rounds(tables, folder, first, refresh(tables, folder, seed=2))


@pytest.fixture
def own_rounds(rounds: Rounds, tmp_path: Path) -> Rounds:
    shutil.copytree(rounds.tables.root, tmp_path / "lake")
    shutil.copytree(rounds.folder, tmp_path / "photos")
    return Rounds(Lake(str(tmp_path / "lake")), tmp_path / "photos", rounds.first, rounds.second)


@pytest.fixture(scope="session")
def reused(tmp_path_factory: pytest.TempPathFactory) -> Reused:
    """For reading."""
    return reused_dataset(Lake(str(tmp_path_factory.mktemp("reused") / "lake")))
