"""A refresh of the whole graph: what changed reaches every stage as exactly those rows, the rest stays as it was."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_assets.demo.pictures import draw_area
from mm_assets_tests.kit.project import WITHOUT_TRAINING, Project

pytestmark = pytest.mark.ray

SCORERS = [name for name in WITHOUT_TRAINING if name.startswith("scores/") and "near" not in name]


@pytest.fixture
def project(sixty: Project) -> Project:
    """See `sixty`."""
    return sixty


def computed(project: Project) -> dict[str, int]:
    """Rows computed by each asset of the last run (0: it was as before)."""
    found = {}
    for asset in WITHOUT_TRAINING:
        metadata = project.events(asset)[0].metadata
        reused = bool(metadata["reused"].value)
        found[asset] = 0 if reused or "rows_computed" not in metadata else int(str(metadata["rows_computed"].value))
    return found


def rows(project: Project, table: str, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in project.tables.open(table).to_table().to_pylist()}


def test_what_changed_reaches_every_stage_and_nothing_else_does(project: Project, tmp_path: Path) -> None:
    project.materialize()
    sft, predictions = rows(project, "sft", "example_id"), rows(project, "predictions", "image_id")
    images = rows(project, "images", "image_id")
    photos = tmp_path / "photos"
    rng = np.random.default_rng(1)
    sizes = Counter(row["group_id"] for row in images.values())
    # Where one of a group goes, another takes its place in the dataset: rightly, but not what is asked here.
    gone, changed, touched = sorted(key for key, row in images.items() if sizes[row["group_id"]] == 1)[:3]
    (photos / gone).unlink()
    draw_area("gym", rng).save(photos / changed)
    os.utime(photos / touched, ns=(1, 1))
    for number in range(3):
        draw_area("lobby", rng).save(photos / "pool" / f"new{number}.png")
    (photos / "pool" / "broken.png").write_bytes(b"words")
    project.materialize(*WITHOUT_TRAINING)

    fresh = {changed, *(f"pool/new{number}.png" for number in range(3))}
    found = computed(project)
    assert {name: found[name] for name in SCORERS} == dict.fromkeys(SCORERS, 4)
    assert (found["raw_images"], found["image_table"]) == (6, 6)  # the touched and the broken one were looked at
    assert found["batch_predictions"] == 5  # the broken one has a row too
    after = rows(project, "images", "image_id")
    same = set(images) - {gone, changed, touched}
    assert {key for key in same if after[key] != images[key]} == set()
    assert after[touched] == images[touched] | {"etag": after[touched]["etag"]}
    assert set(after) - set(images) == fresh - {changed} | {"pool/broken.png"}
    examples = rows(project, "sft", "example_id")
    assert {key for key in sft if examples.get(key) != sft[key]} <= {f"label:{gone}", f"label:{changed}"}
    assert f"label:{gone}" not in examples
    answers = project.tables.open("predictions").to_table().to_pylist()
    assert [row for row in answers if row["image_id"] not in fresh | {"pool/broken.png"}] == [
        row for row in predictions.values() if row["image_id"] != changed
    ]

    versions, calls = project.table_versions(), computed(project)
    project.materialize(*WITHOUT_TRAINING)
    assert project.table_versions() == versions
    assert set(computed(project).values()) == {0} != set(calls.values())

    project.env["MM_PREDICT__PROMPT"] = "what place is this?"
    project.materialize(*WITHOUT_TRAINING)
    moved = project.table_versions()
    assert {name for name in versions if moved[name] != versions[name]} == {"predictions"}
    assert computed(project)["batch_predictions"] == len(after)


def test_failed_rows_are_retried_from_the_launchpad_and_held_to_the_budget(project: Project, tmp_path: Path) -> None:
    project.materialize("raw_images", "image_table")
    (tmp_path / "photos" / "pool" / "broken.png").write_bytes(b"words")
    project.env["MM_INGEST__ERROR_BUDGET"] = "0.01"
    result = project.materialize("raw_images", "image_table", fails=True)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "1 of 61 rows failed (1.6%), more than ingest.error_budget (0.01)" in str(failure.step_failure_data.error)
    assert len(rows(project, "images", "image_id")) == 61
    project.env["MM_INGEST__ERROR_BUDGET"] = "0.5"
    project.materialize("image_table")
    assert project.events("image_table")[0].metadata["rows_failed"].value == 1
    again = {"ops": {"image_table": {"config": {"retry_errors": True}}}}
    project.materialize("image_table", run_config=again)
    assert project.events("image_table")[0].metadata["rows_computed"].value == 1
