"""Previews of the listing and of the images: what is shown of good, refused and odd ones, and within which budget."""

import json
from typing import Any

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.previews import plots
from mm_assets.stages.ingest.previews import previews
from mm_assets.stages.ingest.tables import OBJECTS, OBJECTS_SCHEMA
from mm_assets_tests.kit.lake_rows import (
    ODD_NAMES,
    calls_of,
    image_row,
    materialized,
    noise,
    plain,
    png,
    record,
    write,
    write_images,
)

MAX_CHARS = 45_000


def listed(tables: Lake, *rows: dict[str, Any]) -> dict[str, str]:
    write(tables, OBJECTS, OBJECTS_SCHEMA, rows)
    return previews(materialized(tables, record(tables, "raw_images")))


def stored(tables: Lake, *rows: dict[str, Any]) -> dict[str, str]:
    write_images(tables, rows)
    return previews(materialized(tables, record(tables, "image_table")))


def test_refused_entries_of_the_listing_are_a_table(tables: Lake) -> None:
    bad = [{"image_id": f"bad|{number}", "error": "no uri: <b>"} for number in range(13)]
    shown = listed(tables, {"image_id": "a", "label": "gym"}, *bad)
    lines = shown["preview_refused"].splitlines()
    assert lines[2] == "| bad\\|0 | no uri: \\<b\\> |"
    assert lines[-1] == "| ... and 3 more |  |"
    assert len(lines) == 2 + 10 + 1


def test_a_listing_without_refusals_shows_labels_only(tables: Lake) -> None:
    assert list(listed(tables, {"image_id": "a", "label": "gym"}, {"image_id": "b"})) == ["preview_labels"]


def test_labels_beyond_the_largest_are_summed(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = calls_of(monkeypatch, plots, "bars")
    rows = [{"image_id": str(number), "label": f"label {number % 300:03}"} for number in range(601)]
    listed(tables, *rows)
    _, counts, *_ = bars[0]
    assert counts[0] == ("label 000", 3)
    assert counts[25:] == [("275 others", 550)]


def test_a_few_images_of_every_label_are_shown(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    rows = [image_row(f"{label}/{n}", label, plain("red")) for label in ("a", "b", "c") for n in range(20)]
    stored(tables, *rows, image_row("d/0", None, plain("blue")))
    (section,) = shown[0][0]
    assert [tile.captions for tile in section.tiles] == [["a"]] * 4 + [["b"]] * 4 + [["c"]] * 3 + [["no label"]]
    assert all(tile.image is not None for tile in section.tiles)


def test_refused_images_are_cards_of_every_reason(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    broken = [image_row(f"{number}.jpg", "x", None) for number in range(50)]
    found = stored(tables, *broken, image_row("empty.jpg", "x", None, error="empty: the file has no bytes"))
    assert found["preview_images"] == "There is no picture to show."
    (section,) = shown[0][0]
    assert section.title == "51 refused"
    assert [tile.image for tile in section.tiles] == [None] * 8
    assert section.tiles[-1].captions == ["empty.jpg"]
    assert section.tiles[-1].reason == "empty: the file has no bytes"
    assert len({tile.captions[0] for tile in section.tiles}) == 8


def test_an_empty_table_has_a_sentence(tables: Lake) -> None:
    assert stored(tables) == {"preview_images": "There is no picture to show."}


def test_bytes_that_became_unreadable_are_a_card(tables: Lake, shown: list[tuple[Any, ...]]) -> None:
    stored(tables, image_row("a", "x", b"rotten"), image_row("b", "x", plain("red")))
    assert [tile.image is None for tile in shown[0][0][0].tiles] == [True, False]


def test_the_budget_holds_for_noise_and_odd_names(tables: Lake) -> None:
    good = [image_row(f"{n}", name, png(noise(n))) for n, name in enumerate(ODD_NAMES * 2)]
    bad = [image_row(f"{n} {name}", name, None, error=f"corrupt {n}: {name}" * 3) for n, name in enumerate(ODD_NAMES)]
    shown = stored(tables, *good, *bad)
    assert set(shown) == {"preview_images", "preview_refused", "preview_sizes"}
    assert len(json.dumps(shown)) <= MAX_CHARS
    listing = [{"image_id": f"{n}{name}", "label": name, "error": name * 5} for n, name in enumerate(ODD_NAMES * 5)]
    assert len(json.dumps(listed(tables, *listing))) <= MAX_CHARS
