"""Previews of scores: which columns, which rows at both ends, which groups."""

import json
from typing import Any

import pyarrow as pa
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.stages.score.previews import previews
from mm_assets.stages.score.tables import GROUP_FIELDS
from mm_assets_tests.kit.lake_rows import image_row, materialized, noise, plain, png, record, write_images

OWN = [pa.field(name, pa.float64()) for name in ("one", "two", "three", "four", "five")]
RANK, HASH = pa.field("rank", pa.int16()), pa.field("hash", pa.uint64())


def test_both_ends_are_shown_with_their_values(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    values = [5.0, None, 1.0, float("nan"), 9.0, float("inf"), 3.0, 7.0, 2.0, 8.0, 4.0, 6.0, 10.0]
    rows = [image_row(f"{n}.png", "x", plain("red"), sharpness=value) for n, value in enumerate(values)]
    write_images(tables, [*rows, image_row("bad", "x", None)], pa.field("sharpness", pa.float32()))
    text = previews(materialized(tables, record(tables, "scores/sharpness", columns=["sharpness"])))[
        "preview_sharpness"
    ]
    assert text.startswith("10 values; images without one: 1; not finite: 2")
    low, high = shown[0][0]
    assert (low.title, high.title) == ("lowest", "highest")
    assert [tile.captions for tile in low.tiles][:2] == [["1", "2.png"], ["2", "8.png"]]
    assert [tile.captions[0] for tile in high.tiles] == ["10", "9", "8", "7", "6"]


def test_columns_are_those_of_the_record_that_have_an_order(tables: Lake) -> None:
    row = image_row("a", "x", plain("red"), rank=3, hash=2**63)
    write_images(tables, [row], RANK, HASH)
    assert list(previews(materialized(tables, record(tables, "scores/own", columns=["rank", "hash", "gone"])))) == [
        "preview_rank"
    ]
    assert previews(materialized(tables, record(tables, "scores/own", columns=["hash"]))) == {}
    assert previews(materialized(tables, record(tables, "scores/own"))) == {}


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_column_without_values_has_a_sentence(tables: Lake, value: float | None) -> None:
    write_images(tables, [image_row("a", "x", plain("red"), one=value)], OWN[0])
    assert previews(materialized(tables, record(tables, "scores/own", columns=["one"]))) == {
        "preview_one": "No image has a value."
    }


def test_many_columns_of_noise_keep_the_budget(tables: Lake) -> None:
    names = [field.name for field in OWN]
    rows = [image_row(f"{n}.png", "x", png(noise(n)), **dict.fromkeys(names, n * 1.7)) for n in range(12)]
    write_images(tables, rows, *OWN)
    drawn = previews(materialized(tables, record(tables, "scores/own", columns=names)))
    assert list(drawn) == ["preview_one", "preview_two", "preview_three", "preview_four", "preview_not_drawn"]
    assert drawn["preview_not_drawn"] == "five"
    assert len(json.dumps(drawn)) <= 45_000


def test_the_largest_groups_are_side_by_side(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    sizes = {"alone": 1, "six|": 6, "two": 2, "b": 3, "a": 3, "late": 2}
    members = [(name, n) for name, size in sizes.items() for n in range(size)]
    rows: list[dict[str, Any]] = [image_row(f"{g}/{n}", "x", png(noise(n)), group_id=g) for g, n in members]
    write_images(tables, [*rows, image_row("bad", "x", None)], *GROUP_FIELDS)
    drawn = previews(materialized(tables, record(tables, "scores/near_duplicates")))
    assert [section.title for section in shown[0][0]] == [
        "6 images: six|",
        "3 images: a",
        "3 images: b",
        "2 images: late",
    ]
    assert [tile.captions for tile in shown[0][0][0].tiles] == [[f"six|/{n}"] for n in range(5)]
    assert drawn["preview_group_sizes"].splitlines()[2:] == ["| 6 | 1 |", "| 3 | 2 |", "| 2 | 2 |", "| 1 | 1 |"]
    assert len(json.dumps(drawn)) <= 45_000


def test_without_duplicates_there_is_a_table_only(tables: Lake) -> None:
    write_images(tables, [image_row("a", "x", plain("red"), group_id="a")], *GROUP_FIELDS)
    assert list(previews(materialized(tables, record(tables, "scores/near_duplicates")))) == ["preview_group_sizes"]
    assert (
        "| 1 | 1 |" in previews(materialized(tables, record(tables, "scores/near_duplicates")))["preview_group_sizes"]
    )
