"""Listing and reading a folder, whatever its files are called."""

import os
from pathlib import Path

import pytest

from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.sources.source import LISTING
from mm_assets.images import ImageError

NAMES = [
    b"plain.jpg",
    "h\u00f4tel \u2603.png".encode(),
    b"line\nbreak.jpg",
    b".hidden",
    b"100%.jpg",
    b"odd-\xff\xfe.jpg",
    b"a'b.png",
    b"odd-\\xff.jpg",
    b"odd-\xff.jpg",
]


def test_every_file_is_listed_and_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"pool", name))).write_bytes(name)  # noqa: PTH118
    source = FolderSource(str(tmp_path))
    rows = source.list(print).to_pylist()
    assert {source.read(row["source_uri"], 1000) for row in rows} == set(NAMES)
    assert len({row["image_id"] for row in rows}) == len(NAMES)
    assert {row["label"] for row in rows} == {"pool"}
    assert not any(str(tmp_path) in row["source_uri"] for row in rows)


def test_the_label_is_the_first_folder(tmp_path: Path) -> None:
    (tmp_path / "pool" / "2024").mkdir(parents=True)
    (tmp_path / "pool" / "2024" / "a.jpg").touch()
    (tmp_path / "loose.jpg").touch()
    labels = {row["image_id"]: row["label"] for row in FolderSource(str(tmp_path)).list(print).to_pylist()}
    assert labels == {"pool/2024/a.jpg": "pool", "loose.jpg": None}


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    source = FolderSource(str(tmp_path))
    assert source.list(print).num_rows == 3
    for name, says in (("gone", "FileNotFoundError"), ("pipe", "not a regular file"), ("large", "the limit is 10")):
        with pytest.raises(ImageError, match=says):
            source.read(name, 10)


def test_the_listing_is_stable_and_follows_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    source = FolderSource(str(tmp_path))
    before = source.list(print)
    assert before.equals(source.list(print))
    assert before.schema == LISTING
    (tmp_path / "a").write_bytes(b"22")
    assert before["etag"] != source.list(print)["etag"]


def test_linked_folders_are_listed_and_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    source = tmp_path / "source"
    (source / "gym").mkdir(parents=True)
    (source / "gym" / "b.jpg").touch()
    (source / "pool").symlink_to(tmp_path / "elsewhere")
    (source / "gym" / "circle").symlink_to(source)
    found = FolderSource(str(source)).list(print)["image_id"].to_pylist()
    assert found == ["gym/b.jpg", "pool/a.jpg"]
