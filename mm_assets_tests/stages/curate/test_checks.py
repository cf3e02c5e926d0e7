"""What stops a dataset before it is published, and that nothing of it is left then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_assets.engines.lake.commits import commits_after, properties_of
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.errors import BlockedError
from mm_assets.lineage.properties import ASSETS
from mm_assets.operations.upkeep.job import maintain
from mm_assets.settings import ChecksSettings, CurateSettings, UpkeepSettings
from mm_assets.splits import TEST, TRAIN, VALIDATION
from mm_assets.stages.curate import table_diff as table_diff
from mm_assets_tests.kit.project import Project, failure_of, verdicts_of
from mm_assets_tests.kit.small_lake import CAPTION, LABEL, dataset, names, photos, store

NAMING = CurateSettings(tasks=[LABEL])
BOTH = CurateSettings(tasks=[LABEL, CAPTION])


def untouched(tables: Lake, version: int, history: dict[str, Any]) -> bool:
    """Whether the dataset and its history are as they were."""
    return tables.open("sft").version == version and History.read(tables).records == history


def in_one_file(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same file in the train and in the test split, which near_duplicates did not notice."""
    changed = [dict(row) for row in rows]
    changed[0]["sha256"] = changed[-1]["sha256"] = "the same"
    return changed


def test_a_leak_is_not_published(tables: Lake) -> None:
    store(tables, in_one_file(photos()))
    with pytest.raises(BlockedError, match="nothing was published; leak_free_split: of 16 examples, 1 file would be"):
        dataset(tables, NAMING)
    assert not tables.exists("sft")
    assert "sft_dataset" not in {record.asset for record in History.read(tables).records.values()}


def test_a_group_across_splits_is_not_published(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice never takes such a group; the check does not trust it."""
    store(tables, [{**row, "group_id": "one"} if n in (0, 15) else row for n, row in enumerate(photos())])
    monkeypatch.setattr("mm_assets.stages.curate.job.choose", each_for_itself)
    with pytest.raises(BlockedError, match="1 group would be in more than one split"):
        dataset(tables, NAMING)


def each_for_itself(rows: list[dict[str, Any]], settings: CurateSettings, bounds: Any) -> Any:
    from mm_assets.stages.curate.selection import choose

    alone = choose([{**row, "group_id": row["image_id"]} for row in rows], settings, bounds)
    return [replace(choice, row=row) for choice, row in zip(alone, rows, strict=True)]


def test_after_a_published_version_nothing_of_a_blocked_one_is_left_and_mended_data_are_published(
    tables: Lake,
) -> None:
    store(tables, photos())
    first = dataset(tables, BOTH)
    version, history = tables.open("sft").version, History.read(tables).records
    too_long = [
        {"image_id": f"{split}-long-{n}.png", "caption": "Ü" * 200} for split in (TRAIN, TEST) for n in range(3)
    ]
    store(tables, [{"label": "pool", **row} for row in too_long])
    added, limit = History.read(tables).records, BOTH.model_copy(update={"max_tokens": 200})
    with pytest.raises(BlockedError, match=r"pre_flight: 6 of 44 chosen examples \(13.6%\)"):
        dataset(tables, limit)
    assert heal(History.read(tables), "sft_dataset").record == first
    assert untouched(tables, version, {**history, **added, **only(tables, "base_model")})
    mended = dataset(tables, limit, checks=ChecksSettings(max_pre_flight_share=0.2))
    assert mended.metadata["left_out"] == {"pre-flight": 6}
    assert heal(History.read(tables), "sft_dataset").record == mended


def only(tables: Lake, asset: str) -> dict[str, Any]:
    return {key: record for key, record in History.read(tables).records.items() if record.asset == asset}


def test_a_limit_that_is_tightened_blocks_also_where_nothing_changed(tables: Lake) -> None:
    store(tables, photos({"train-1.png": "Ü" * 100}))
    settings = CurateSettings(tasks=[CAPTION], max_tokens=150)
    first = dataset(tables, settings)
    version = tables.open("sft").version
    with pytest.raises(BlockedError, match=r"1 of 16 chosen examples \(6.2%\)"):
        dataset(tables, settings, checks=ChecksSettings(max_pre_flight_share=0.05))
    assert tables.open("sft").version == version
    assert heal(History.read(tables), "sft_dataset").record == first
    assert dataset(tables, settings).ref == first.ref


def test_a_first_dataset_in_pieces_that_is_blocked_is_no_version(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are written before it is known what the rest is like; they are of no commit, as after a crash."""
    monkeypatch.setattr("mm_assets.stages.curate.job.CHUNK_ROWS", 3)
    monkeypatch.setattr(table_diff, "MOST_WAITING", 5)
    store(tables, [row for row in photos() if row["image_id"] not in names(VALIDATION, 2)])
    with pytest.raises(BlockedError, match="the split validation would have no example"):
        dataset(tables, NAMING)
    assert tables.open("sft").count_rows() == 0
    assert heal(History.read(tables), "sft_dataset").last_commit is None
    store(tables, [row for row in photos() if row["image_id"] in names(VALIDATION, 2)])
    made = dataset(tables, NAMING)
    assert (made.metadata["rows"], tables.open("sft").count_rows()) == (16, 16)
    carrying = [number for number, found in commits_after(tables.open("sft"), 0) if found.get(ASSETS)]
    assert carrying == [made.ref.version]
    assert properties_of(tables.open("sft").read_transaction(1))[ASSETS] == ""


def test_what_cannot_be_learned_is_a_failed_check_too(tables: Lake) -> None:
    store(tables, [{**row, "label": "pool"} for row in photos()])
    with pytest.raises(BlockedError, match=r"pre_flight: .*; source .*one class only") as refused:
        dataset(tables, NAMING)
    assert [verdict.passed for verdict in refused.value.verdicts] == [True, False]
    assert not tables.exists("sft")


def test_a_table_that_somebody_emptied_after_maintenance_is_built_again(tables: Lake) -> None:
    """A fence stands in it, and its first version is gone: a commit must say what it was prepared from."""
    store(tables, photos())
    dataset(tables, NAMING)
    maintain(tables, UpkeepSettings(grace_seconds=0, scratch_seconds=0), "night", print)
    tables.open("sft").delete("true")
    assert dataset(tables, NAMING).metadata["rows"] == 16
    assert tables.open("sft").count_rows() == 16


@pytest.fixture
def project(tables: Lake, tmp_path: Path) -> Project:
    """A project whose lake is scored, and has a base model."""
    store(tables, [{**row, "sharpness": 100.0} for row in photos()])
    dataset(tables, NAMING)
    (tmp_path / "source").mkdir()
    env = {"MM_CURATE__LIMITS": '{"sharpness": {"min": 60}}'}
    return Project(tables.root, tmp_path / "source", tmp_path / "home", env)


def test_dagster_records_a_failed_check_and_no_materialization(project: Project) -> None:
    version = project.tables.open("sft").version
    project.env |= {"MM_CURATE__LABELS": '["pool", "Terrace/Patio", "spa"]'}
    result = project.materialize("sft_dataset", fails=True)
    found = verdicts_of(result)
    assert {name: item.passed for name, item in found.items()} == {
        "sft_dataset:leak_free_split": True,
        "sft_dataset:pre_flight": False,
    }
    failed = found["sft_dataset:pre_flight"]
    assert failed.blocking
    assert failed.severity == dg.AssetCheckSeverity.ERROR
    assert "no example would be left of the class spa: add images of it" in str(failed.description)
    assert "sft_dataset: nothing was published; pre_flight: 0 of 16 chosen" in failure_of(result)
    assert project.events("sft_dataset") == []
    assert project.tables.open("sft").version == version
    project.env |= {"MM_CURATE__LABELS": "null"}
    found = verdicts_of(project.materialize("sft_dataset"))
    assert {name: item.passed for name, item in found.items()} == dict.fromkeys(
        (f"sft_dataset:{name}" for name in ("leak_free_split", "pre_flight", "class_balance", "lineage_verified")), True
    )
    assert len(project.events("sft_dataset")) == 1


def test_the_command_ends_with_1_and_the_sentence(project: Project) -> None:
    project.env |= {"MM_CURATE__LABELS": '["pool", "Terrace/Patio", "spa"]'}
    command = ("asset", "materialize", "--select", "sft_dataset", "-m", "mm_assets.definitions")
    found = project.command(*command)
    assert found.returncode == 1
    assert "Failure: sft_dataset: nothing was published; pre_flight: 0 of 16 chosen examples" in found.stderr
    assert "of the class spa: add images of it, or take it out of curate.labels (MM_CURATE__LABELS)" in found.stderr


def test_a_warning_leaves_the_command_at_0(project: Project) -> None:
    project.env |= {"MM_CHECKS__MIN_CLASS_SHARE": "1", "MM_CURATE__LIMITS": '{"entropy": {"min": 4}}'}
    store(project.tables, [{"image_id": names(TRAIN, 7)[-1], "label": "pool", "sharpness": 100.0}])
    found = project.command("asset", "materialize", "--select", "sft_dataset", "-m", "mm_assets.definitions")
    assert found.returncode == 0, found.stderr
    assert "class_balance: the smallest class (Terrace/Patio: 8) has 88.9% of the largest (pool: 9)" in found.stderr
