"""Near-duplicate groups in the table: they last as images come, and as groups join."""

from pathlib import Path

import pytest
from PIL import Image

from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.lineage.refs import Record
from mm_assets.score.grouping import NEAR_DUPLICATES, group_duplicates
from mm_assets.score.scorers import phash
from mm_assets_tests.score.test_job import cells, score
from mm_assets_tests.steps import ingest, run_step

pytestmark = pytest.mark.ray


def group(tables: LakeTables, max_distance: int = 2) -> Record:
    return run_step(
        tables,
        lambda step: group_duplicates(step, tables, max_distance),
        NEAR_DUPLICATES,
        inputs=("scores/phash",),
    )[NEAR_DUPLICATES]


def test_groups_last_as_images_come(tables: LakeTables, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    score(tables, cluster, phash)
    group(tables)
    before = cells(tables, "group_id", "first_group_id")
    assert before["notes.txt"] == (None, None)
    assert before["pool/3.png"] == ("pool/3.png", "pool/3.png")
    picture = Image.open(few_pictures / "pool" / "3.png")
    picture.resize((120, 120)).save(few_pictures / "beach" / "again.png")
    ingest(tables, cluster, few_pictures)
    score(tables, cluster, phash)
    record = group(tables)
    assert record.metadata["rows_computed"] == 1
    after = cells(tables, "group_id", "first_group_id")
    assert after["beach/again.png"] == ("pool/3.png", "pool/3.png")
    assert {key: after[key] for key in before} == before


def test_a_row_keeps_its_first_group_when_groups_join(tables: LakeTables, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    score(tables, cluster, phash)
    group(tables, 0)
    before = cells(tables, "group_id", "first_group_id")
    group(tables, 12)
    after = cells(tables, "group_id", "first_group_id")
    assert {key: first for key, (_, first) in after.items()} == {key: first for key, (_, first) in before.items()}
    assert len({now for now, _ in after.values()}) <= len({now for now, _ in before.values()})
