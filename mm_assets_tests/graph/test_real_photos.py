"""1,500 real photos through the same graph: the tiny model learns little on them, and the evaluation says so."""

from pathlib import Path

import pytest

from mm_assets_tests.project import Project

pytestmark = pytest.mark.ray


def test_the_decision_follows_the_interval(test_data: Path, tmp_path: Path, cluster: object) -> None:
    project = Project(tmp_path / "lake", test_data / "photos" / "rooms", tmp_path / "home")
    project.env = {"MM_TRAIN__EPOCHS": "1"}  # the behaviour of the graph, not of the model
    project.materialize()
    newest = project.newest()
    assert newest["image_table"].metadata["rows"] == newest["batch_predictions"].metadata["rows"] == 1500
    assert newest["image_table"].metadata["rows_failed"] == 0
    said = newest["evaluation"].metadata
    assert said["promoted"] == (said["interval"][0] > 0 and said["accuracy"] >= 0.6)
    assert sum(sum(row.values()) for row in said["confusion"].values()) == said["rows"]
