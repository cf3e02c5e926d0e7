"""Which source a setting opens, and what all of them share."""

import pickle
import re
from pathlib import Path
from typing import Self

import pytest

from mm_assets import pace as progress
from mm_assets.engines.sources import opening
from mm_assets.engines.sources import source as object_store
from mm_assets.engines.sources.bucket import S3Source
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.sources.manifest import ManifestSource
from mm_assets.engines.sources.opening import open_source
from mm_assets.engines.sources.source import LISTING, counted, row_of, table_of
from mm_assets.settings import S3Settings

S3 = S3Settings(endpoint="http://store.test:9000", region="here", addressing="path")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("/photos", FolderSource),
        ("s3://photos/2024", S3Source),
        ("s3://photos.csv", S3Source),
        ("s3://photos/list.CSV", ManifestSource),
        ("/photos/list.jsonl", ManifestSource),
        ("/photos/list.ndjson", ManifestSource),
        ("s3://photos/list.parquet", ManifestSource),
    ],
)
def test_a_setting_opens_its_kind_of_source_which_travels(source: str, kind: type) -> None:
    opened = open_source(source, S3)
    assert type(opened) is kind
    assert opened.place == source
    assert pickle.loads(pickle.dumps(opened)) == opened


def test_a_folder_that_is_called_like_a_manifest_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").mkdir()
    assert type(open_source(str(tmp_path / "photos.csv"), S3)) is FolderSource


def test_a_new_kind_is_opened_by_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shelf(FolderSource):
        """Names what begins with `shelf:`."""

        @classmethod
        def from_setting(cls, setting: str, s3: S3Settings) -> Self | None:
            return cls(setting) if setting.startswith("shelf:") else None

    monkeypatch.setattr(opening, "KINDS", (Shelf, *opening.KINDS))
    assert type(open_source("shelf:3", S3)) is Shelf
    assert type(open_source("/photos", S3)) is FolderSource
    monkeypatch.setattr(opening, "KINDS", (Shelf,))
    with pytest.raises(ValueError, match="/photos is no source that is known here"):
        open_source("/photos", S3)


def test_rows_of_any_number_become_one_table_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "BATCH_ROWS", 3)
    table = table_of(row_of(b"pool/%d" % number, (None, number)) for number in range(8))
    assert table.schema == LISTING
    assert table["size"].to_pylist() == list(range(8))
    assert table_of([]).num_rows == 0


def test_a_long_listing_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert len(list(counted([{}] * 1200, said.append))) == 1200
    assert said == []
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    assert len(list(counted([{}] * 1200, said.append))) == 1200
    assert re.fullmatch(r"1,200 objects listed, [\d,]+/s", said[-1])


@pytest.mark.parametrize("path", [b"/a.jpg", b"//a.jpg"])
def test_a_folder_without_a_name_is_no_label(path: bytes) -> None:
    assert row_of(path, (None, None))["label"] is None
