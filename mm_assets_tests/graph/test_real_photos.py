"""1,500 real photos through the same graph: the tiny model learns little on them, and the evaluation says so."""

import pytest

from mm_assets_tests.project import Project

pytestmark = pytest.mark.ray


def test_the_decision_follows_the_interval(rooms: Project) -> None:
    newest = rooms.newest()
    assert newest["image_table"].metadata["rows"] == newest["batch_predictions"].metadata["rows"] == 1500
    assert newest["image_table"].metadata["rows_failed"] == 0
    said = newest["evaluation"].metadata
    assert said["promoted"] == (said["interval"][0] > 0 and said["accuracy"] >= 0.6)
    assert sum(sum(row.values()) for row in said["confusion"].values()) == said["rows"]
