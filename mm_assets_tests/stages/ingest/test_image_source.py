"""What the setting of the source opens, as Dagster hands it to the assets."""

from pathlib import Path

import pytest

from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.sources.manifest import ManifestSource
from mm_assets.resources import DRAWN_FOLDER, ImageSource
from mm_assets.settings import DRAWN, S3Settings


def test_the_settings_of_the_store_reach_the_source() -> None:
    s3 = S3Settings(endpoint="http://store.test:9000", addressing="path")
    opened = ImageSource(source="s3://photos/list.csv", s3=s3.model_dump()).open()
    assert opened == ManifestSource("s3://photos/list.csv", s3)


def test_the_drawn_pictures_are_known_by_that_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened = ImageSource(source=DRAWN).open()
    assert opened == FolderSource(str(tmp_path / DRAWN_FOLDER), DRAWN)
    assert opened.place == DRAWN
