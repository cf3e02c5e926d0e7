"""Which versions stay, decided on records alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import InputRef, LanceRef, tag_name
from mm_assets.operations.upkeep.retention import Live, Tagged, expired_tags, last_commits, needed

IDS = {"objects": "0" * 32, "images": "1" * 32, "sft": "2" * 32, "models": "3" * 32}


def record(asset: str, table: str, version: int, *inputs: Record, table_id: str | None = None, **more: Any) -> Record:
    ref = LanceRef(table, table_id or IDS[table], version)
    progress, metadata = more.pop("progress", Progress()), more
    return Record(
        id=f"{asset}-{version}-{more}",
        asset=asset,
        ref=ref,
        run_id="run",
        step="step",
        code_version="1",
        inputs=tuple(InputRef(item.asset, item.data_version, item.id) for item in inputs),
        metadata=metadata,
        progress=progress,
        at=datetime.now(UTC),
        reused=False,
    )


def kept(history: list[Record], live: tuple[Live, ...] = (), keep_last: int = 1) -> dict[str, list[int]]:
    kept = needed({item.id: item for item in history}, IDS, live, keep_last).reasons
    return {table: sorted(versions) for table, versions in kept.items()}


def test_the_last_materialized_versions_of_each_asset_stay() -> None:
    images = [record("image_table", "images", version) for version in (2, 5, 9)]
    scores = [record("scores/x", "images", version) for version in (3, 6)]
    assert kept([*images, *scores], keep_last=1) == {"images": [6, 9]}
    assert kept([*images, *scores], keep_last=2) == {"images": [3, 5, 6, 9]}


def test_a_materialization_that_changed_nothing_takes_no_place() -> None:
    history = [record("image_table", "images", version, run=run) for run, version in enumerate((2, 5, 9, 9, 9))]
    assert kept(history, keep_last=2) == {"images": [5, 9]}


def test_what_a_live_checkpoint_was_made_from_stays() -> None:
    images = [record("image_table", "images", version) for version in (2, 4, 6)]
    dataset = [record("sft_dataset", "sft", version, source) for version, source in enumerate(images)]
    checkpoints = [record("llava_checkpoint", "models", n, made, digest=f"d{n}") for n, made in enumerate(dataset)]
    history = [*images, *dataset, *checkpoints]
    assert kept(history) == {"images": [6], "sft": [2], "models": [2]}
    assert kept(history, (Live("d0", {}),)) == {"images": [2, 6], "sft": [0, 2], "models": [0, 2]}


def test_what_the_registry_names_stays_too() -> None:
    history = [record("image_table", "images", version) for version in (2, 6)]
    inputs = {"image_table": "images:111111@v3", "sft_dataset": "sft:ffffff@v9"}  # the second is of a dropped table
    assert kept(history, (Live("d", inputs),)) == {"images": [3, 6]}


def test_where_the_next_refresh_begins_stays() -> None:
    older = record("scores/x", "images", 3, progress=Progress({"images": 2}))
    newer = record("scores/x", "images", 6, progress=Progress({"images": 5}, scanned_to=7))
    assert kept([older, newer]) == {"images": [5, 6]}


def test_versions_of_a_dropped_table_are_no_concern() -> None:
    assert kept([record("image_table", "images", 4, table_id="f" * 32)]) == {}


def test_a_lost_ancestor_of_a_live_checkpoint_is_refused() -> None:
    lost = record("sft_dataset", "sft", 1)
    with pytest.raises(RefusalError, match="has lost sft_dataset sft:222222@v1"):
        kept([record("llava_checkpoint", "models", 1, lost, digest="d")], (Live("d", {}),))


def test_commits_stay_that_tell_what_became_of_a_run() -> None:
    done = record("sft_dataset", "sft", 9, progress=Progress({"images": 40}, compared_to=5, scanned_to=9))

    def stay(*commits: tuple[int, str], newest: Record | None = done) -> list[int]:
        return sorted(last_commits(commits, newest))

    assert stay((3, "a"), (9, "run")) == []
    assert stay((3, "a"), (6, "a"), (7, "run"), (8, "b"), (9, "run")) == [8]  # two at once
    assert stay((9, "run"), (11, "a"), (12, "a")) == [12]  # a run that was killed
    assert stay((9, "run"), (11, "a"), (12, "b"), (13, "c"), (14, "c")) == [12, 14]
    assert stay((2, "a"), (3, "a"), newest=None) == [3]  # the first one ever was killed
    assert (
        stay(
            (3, "a"), (6, "a"), (9, "run"), newest=record("image_table", "images", 9, progress=Progress({"objects": 1}))
        )
        == []
    )


def test_tags_go_with_their_version_and_those_of_others_protect_it() -> None:
    history = [record("image_table", "images", version) for version in (2, 4, 6)]
    history += [record("scores/x", "images", 2)]
    tags = [Tagged(tag_name(item.asset, item.ref.version), item.ref.version) for item in history]
    expired = expired_tags(history, [*tags, Tagged("production", 4)], {6: "a recent materialization"})
    assert expired == {"image_table.v2": history[0], "scores.x.v2": history[3]}
    assert expired_tags(history, [Tagged("mine", 2)], {}) == {}
