"""Progress as records store it, and as records of release 0.1.0 stored it."""

from typing import Any

import pytest

from mm_assets.lineage.progress import Progress


def test_what_is_stored_is_read_back() -> None:
    progress = Progress({"images": 40}, compared_to=5, scanned_to=7, confirmed_at=6)
    assert Progress.from_json(progress.as_json(), "sft") == progress
    assert Progress.from_json(Progress().as_json(), "sft") == Progress()


@pytest.mark.parametrize(
    ("table", "watermarks", "progress"),
    [
        ("objects", {"commits": 3, "seen": 2}, Progress(scanned_to=3, confirmed_at=2)),
        ("images", {"objects": 4, "compared": 7}, Progress({"objects": 4}, compared_to=7)),
        ("images", {"images": 4, "compared": 7, "commits": 9}, Progress({"images": 4}, compared_to=7, scanned_to=9)),
        ("images", {"images": 4, "groups": 8}, Progress({"images": 4}, compared_to=8)),
        ("sft", {"images": 40, "sft": 5}, Progress({"images": 40}, compared_to=5)),
        ("predictions", {"images": 2, "compared": 0}, Progress({"images": 2}, compared_to=0)),
        ("models", {}, Progress()),
    ],
)
def test_watermarks_of_the_first_release_are_read(table: str, watermarks: dict[str, int], progress: Progress) -> None:
    assert Progress.from_json(watermarks, table) == progress


@pytest.mark.parametrize(
    "value", [[], None, {"images": "4"}, {"inputs": {"images": None}}, {"inputs": {}, "scanned_to": "3"}]
)
def test_what_is_no_progress_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="its progress"):
        Progress.from_json(value, "images")
