"""A whole lake in small: scored pictures, a dataset, a model, its evaluation and its predictions; without Ray."""

import shutil
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.settings import CurateSettings
from mm_assets_tests.kit.small_lake import LABEL, build_after_dataset, dataset, photos, store


@pytest.fixture(scope="session")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    tables = Lake(str(tmp_path_factory.mktemp("whole") / "lake"))
    store(tables, photos())
    dataset(tables, CurateSettings(tasks=[LABEL]))
    build_after_dataset(tables)
    return tables


@pytest.fixture
def whole(_whole: Lake, tmp_path: Path) -> Lake:
    """A copy that a test can spoil."""
    shutil.copytree(_whole.root, tmp_path / "whole")
    return Lake(str(tmp_path / "whole"))
