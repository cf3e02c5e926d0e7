"""Checks of the image table: the verdicts, and that they are on the version that the newest record names."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.stages.ingest.verdicts import label_conflicts, reject_share
from mm_assets_tests.kit.lake_rows import image_row, plain, record, write_images
from mm_assets_tests.kit.project import Project, failure_of, verdicts_of


def errors(*found: str) -> pa.ChunkedArray:
    return pa.chunked_array([list(found)], pa.string())


def images(*rows: tuple[str, str | None, str | None]) -> pa.Table:
    names = ("image_id", "sha256", "label")
    columns = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names)}
    return pa.table(columns)


def test_as_many_rejects_as_allowed_pass_and_one_more_does_not() -> None:
    assert reject_share(10, errors("corrupt: PNG", "corrupt: JPEG"), 0.2).passed
    found = reject_share(10, errors("corrupt: PNG", "too large: 9 pixels", "corrupt: JPEG"), 0.2)
    assert (found.passed, found.severity) == (False, "WARN")
    assert found.sentence == (
        "3 of 10 objects (30.0%) are no usable image, most often for: corrupt; checks.max_reject_share "
        "(MM_CHECKS__MAX_REJECT_SHARE) is 0.2: look at the column error, and mend the source or allow more"
    )
    assert found.figures["reasons"] == {"corrupt": 2, "too large": 1}


@pytest.mark.parametrize("rows", [0, 5])
def test_no_rejects_pass(rows: int) -> None:
    assert reject_share(rows, errors(), 0.0).passed


def test_copies_with_other_labels_are_shown() -> None:
    found = label_conflicts(images(("a", "1" * 64, "gym"), ("b", "1" * 64, "pool"), ("c", "2" * 64, "gym")), 0.0)
    assert (found.passed, found.severity) == (False, "WARN")
    assert found.sentence.startswith(
        "2 of 3 images (66.7%) have a copy, byte for byte, with another label; checks.max_label_conflicts "
        "(MM_CHECKS__MAX_LABEL_CONFLICTS) is 0: "
    )
    assert found.figures["examples"] == [
        {"sha256": "1" * 12, "label": label, "image": image} for label, image in (("gym", "a"), ("pool", "b"))
    ]
    assert label_conflicts(images(("a", "1", "gym"), ("b", "1", "pool"), ("c", "2", "gym")), 0.7).passed


def test_copies_with_the_same_label_or_none_agree() -> None:
    assert label_conflicts(images(("a", "1", "gym"), ("b", "1", "gym"), ("c", "1", None)), 0.0).passed
    assert label_conflicts(images(("a", "1", None), ("b", "1", None)), 0.0).passed
    assert label_conflicts(images(), 0.0).passed


def test_of_many_conflicts_forty_copies_are_shown() -> None:
    rows = [(f"{n}-{label}", f"{n:064}", label) for n in range(30) for label in ("gym", "pool")]
    found = label_conflicts(images(*rows), 0.0)
    assert (found.figures["images"], len(found.figures["examples"])) == (60, 40)


def project(tables: Lake, tmp_path: Path, **env: Any) -> Project:
    (tmp_path / "source").mkdir(exist_ok=True)
    return Project(tables.root, tmp_path / "source", tmp_path / "home", env)


def test_the_version_of_the_newest_record_is_checked_not_the_latest(tables: Lake, tmp_path: Path) -> None:
    write_images(tables, [image_row("a", "gym", plain("red")), image_row("b", "pool", plain("red"))])
    record(tables, "image_table")
    write_images(tables, [image_row(f"bad-{n}", "gym", None) for n in range(8)])
    found = verdicts_of(project(tables, tmp_path).check("image_table:reject_share", "image_table:label_conflicts"))
    rejects, conflicts = found["image_table:reject_share"], found["image_table:label_conflicts"]
    assert rejects.passed
    assert "0 of 2 objects" in str(rejects.description)
    assert not conflicts.passed
    assert "2 of 2 images (100.0%)" in str(conflicts.description)
    shown = str(conflicts.metadata["examples"].value)
    assert "| gym | a |" in shown
    assert "| pool | b |" in shown


def test_the_limits_come_from_the_settings_and_a_warning_fails_no_run(tables: Lake, tmp_path: Path) -> None:
    write_images(tables, [image_row("a", "gym", plain("red")), image_row("b", "gym", None)])
    record(tables, "image_table")
    name = "image_table:reject_share"
    assert not verdicts_of(project(tables, tmp_path).check(name))[name].passed
    assert verdicts_of(project(tables, tmp_path, MM_CHECKS__MAX_REJECT_SHARE="0.5").check(name))[name].passed


def test_a_check_of_what_is_not_there_says_what_to_do(tables: Lake, tmp_path: Path) -> None:
    result = project(tables, tmp_path).check("image_table:reject_share", fails=True)
    assert verdicts_of(result) == {}
    assert failure_of(result) == (
        f"dagster._core.definitions.events.Failure: image_table is not in the lake {tables.root} yet: materialize "
        "image_table first\n"
    )
