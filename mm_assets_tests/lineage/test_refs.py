"""References, tags, and the diamond rule, as plain functions."""

from datetime import UTC, datetime, timedelta

import pytest

from mm_assets.lineage.ancestry import diamond_conflict
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef, tag_name
from mm_assets.lineage.step import StepContext

TABLE = {"raw_images": "objects", "image_table": "images", "base_model": "models"}


def record(asset: str, version: int, *inputs: Record) -> Record:
    return Record(
        id=f"{asset}-{version}-{'-'.join(i.id for i in inputs)}",
        asset=asset,
        ref=LanceRef(TABLE.get(asset, "images"), "e2ad73ffffff", version),
        run_id="run",
        step="step",
        code_version="1",
        inputs=tuple(item.as_input() for item in inputs),
        metadata={"rows": 1},
        progress=Progress(),
        at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=version),
        reused=False,
    )


def closure(*records: Record) -> dict[str, Record]:
    return {item.id: item for item in records}


def test_a_data_version_names_table_identity_and_version() -> None:
    assert str(LanceRef("images", "3f2a9c77aa", 12)) == "images:3f2a9c@v12"


def test_a_tag_has_only_characters_that_lance_allows() -> None:
    assert tag_name("scores/near_duplicates", 7) == "scores.near_duplicates.v7"


def test_inputs_of_one_version_are_no_conflict() -> None:
    table = record("image_table", 9)
    scores = [record(f"scores/{name}", 11, table) for name in ("sharpness", "entropy")]
    inputs = {item.asset: item for item in (table, *scores)}
    assert diamond_conflict(inputs, closure(table, *scores)) is None


def test_a_score_of_older_images_is_named_with_what_to_do() -> None:
    old, new = record("image_table", 4), record("image_table", 9)
    score = record("scores/sharpness", 6, old)
    sentence = diamond_conflict({"image_table": new, score.asset: score}, closure(old, new, score))
    assert sentence == (
        "scores/sharpness was computed on images:e2ad73@v4, image_table is at @v9: materialize scores/sharpness first"
    )


def test_everything_between_the_old_version_and_the_step_is_to_be_materialized_in_order() -> None:
    old, new = record("image_table", 4), record("image_table", 9)
    phash = record("scores/phash", 6, old)
    groups = record("scores/near_duplicates", 7, phash)
    sentence = diamond_conflict({"image_table": new, groups.asset: groups}, closure(old, new, phash, groups))
    assert sentence is not None
    assert sentence.endswith("materialize scores/phash, scores/near_duplicates first")


def test_two_inputs_that_differ_conflict_though_neither_is_the_asset_itself() -> None:
    old, new = record("image_table", 4), record("image_table", 9)
    behind, ahead = record("scores/sharpness", 6, old), record("scores/entropy", 11, new)
    sentence = diamond_conflict({behind.asset: behind, ahead.asset: ahead}, closure(old, new, behind, ahead))
    assert sentence is not None
    assert sentence.startswith("scores/sharpness was computed on images:e2ad73@v4")


def test_a_reused_record_of_the_same_version_is_no_conflict() -> None:
    first = record("image_table", 4)
    again = Record(**{**first.__dict__, "id": "again", "reused": True})
    score = record("scores/sharpness", 6, first)
    assert diamond_conflict({"image_table": again, score.asset: score}, closure(first, again, score)) is None


def again(made: Record, *inputs: Record) -> Record:
    """The same version, found on other inputs."""
    others = tuple(item.as_input() for item in inputs)
    return Record(**{**made.__dict__, "id": f"{made.id}-again", "inputs": others, "reused": True})


def test_what_read_a_version_that_newer_inputs_gave_again_is_not_behind() -> None:
    old, new = record("image_table", 4), record("image_table", 9)
    phash = record("scores/phash", 6, old)
    groups = record("scores/near_duplicates", 7, phash)
    same = again(phash, new)
    inputs = {"image_table": new, groups.asset: groups}
    assert diamond_conflict(inputs, closure(old, new, phash, groups, same)) is None
    newest = record("image_table", 12)
    sentence = diamond_conflict({**inputs, "image_table": newest}, closure(old, new, phash, groups, same, newest))
    assert sentence is not None
    assert sentence.startswith("scores/near_duplicates was computed on images:e2ad73@v9, image_table is at @v12")


def test_what_lies_behind_one_version_of_an_input_may_differ() -> None:
    before, now = record("raw_images", 1), record("raw_images", 2)
    table = record("image_table", 4, before)
    score, same = record("scores/sharpness", 6, table), again(table, now)
    inputs = {"image_table": same, score.asset: score}
    assert diamond_conflict(inputs, closure(before, now, table, score, same)) is None


def test_an_input_that_was_not_read_is_refused() -> None:
    dataset = record("sft_dataset", 2)
    step = StepContext("run", "step", {}, {}, {}, {}, print)
    with pytest.raises(RefusalError, match="names no image_table"):
        step.input_of(dataset, "image_table")
