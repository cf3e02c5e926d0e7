"""The history as one object: what it answers, and how often a step reads it."""

from collections.abc import Callable
from typing import Any

import lance
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.history import rows
from mm_assets.history.history import History
from mm_assets.history.maintenance import expire
from mm_assets.lineage.records import Expiry
from mm_assets.lineage.refs import InputRef
from mm_assets.operations.verify import history as verified
from mm_assets.settings import CurateSettings
from mm_assets_tests.kit.lake_rows import record, write_images
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.small_lake import LABEL, dataset, photos, store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where each history lies that was read, in order."""
    rows_of: Callable[[lance.LanceDataset], list[dict[str, Any]]] = rows.rows_of
    uris: list[str] = []

    def counted(ds: lance.LanceDataset) -> list[dict[str, Any]]:
        uris.append(ds.uri)
        return rows_of(ds)

    for module in (rows, verified):
        monkeypatch.setattr(module, "rows_of", counted)
    return uris


def test_a_step_reads_the_history_once(tables: Lake, reads: list[str]) -> None:
    store(tables, photos())
    assert len(reads) == 0  # there was none
    dataset(tables, CurateSettings(tasks=[LABEL]))  # the base model's step, and the dataset's
    assert reads == [tables.uri(rows.TABLE)] * 2


def test_each_step_of_a_run_reads_the_history_once(tables: Lake, reads: list[str], project: Project) -> None:
    """Also where its asset has pictures, and where four assets are one step; a check is a step of its own."""
    store(tables, [{**row, "sharpness": 100.0} for row in photos()])
    reads.clear()
    result = project.materialize("base_model", "sft_dataset")
    steps = [event.step_key for event in result.all_events if event.is_step_success]
    assert {"base_model", "sft_dataset"} < set(steps)
    assert len(reads) == len(steps)


@pytest.fixture
def project(tables: Lake, tmp_path: Any) -> Project:
    (tmp_path / "source").mkdir()
    return Project(tables.root, tmp_path / "source", tmp_path / "home")


def test_what_is_appended_is_known_without_another_read(tables: Lake, reads: list[str]) -> None:
    write_images(tables, [])
    first = record(tables, "image_table")
    later = record(tables, "scores/phash", [first])
    history = History(tables)
    assert (history.newest, history.readers) == ({}, {})
    reads.clear()
    history.append(first)
    assert history.newest == {"image_table": first}
    history.append(later)
    assert history.newest == {"image_table": first, "scores/phash": later}
    assert history.readers == {first.id: [later]}
    assert history.first_of_version["scores/phash", later.data_version] == later
    assert [made.asset for made in history.ancestors(later)] == ["scores/phash", "image_table"]
    assert reads == []
    assert History.read(tables).records == history.records


def test_a_lost_input_is_stood_in_for_by_the_first_of_its_version(tables: Lake) -> None:
    write_images(tables, [])
    first = record(tables, "image_table")
    again = record(tables, "image_table")
    history = History.read(tables)
    assert history.source(InputRef("image_table", first.data_version, "lost")) == first
    assert history.source(again.as_input()) == again
    assert history.source(InputRef("image_table", "images:000000@v1", "lost")) is None


def test_an_empty_lake_has_an_empty_history(tables: Lake) -> None:
    history = History.read(tables)
    assert (history.records, history.newest, history.expiries, history.maintenance) == ({}, {}, [], [])
    assert history.last_promotion() is None


def test_an_expiry_is_stored_in_the_words_of_lakes_of_today(tables: Lake) -> None:
    store(tables, photos())
    materialized = History.read(tables).newest["image_table"]
    expiry = Expiry(
        materialized.asset, materialized.ref, "run", "maintenance", {"reason": "retention"}, materialized.at
    )
    expire(tables, [expiry])
    expire(tables, [expiry])
    (row,) = [row for row in rows.rows_of(tables.open(rows.TABLE)) if row["kind"] == "withdrawal"]
    assert row["id"] == f"withdrawn:image_table:images:{materialized.ref.table_id}@v{materialized.ref.version}"
    assert History.read(tables).expiries == [expiry]
