"""Which images become examples: every reason, one per group, splits that never leak or move."""

from collections import Counter
from typing import Any

import pytest

from mm_assets.curate.selection import choose
from mm_assets.curate.splits import TEST, TRAIN, split_of
from mm_assets.settings import CurateSettings

SETTINGS = CurateSettings(
    prompt="what?",
    answer="{label}",
    min_sharpness=10,
    min_luminance=20,
    max_luminance=200,
    max_clipped=0.5,
    min_entropy=1,
)


def row(image_id: str, **values: Any) -> dict[str, Any]:
    scores = {"sharpness": 50.0, "luminance": 100.0, "clipped": 0.1, "entropy": 5.0}
    state = {f"{name}_{part}": "1" if part == "rev" else None for name in ("sharpness", "exposure", "entropy") for part in ("rev", "error")}  # fmt: skip  # noqa: E501
    groups = {"group_id": image_id, "first_group_id": image_id}
    return {"image_id": image_id, "label": "pool", "error": None, **scores, **state, **groups, **values}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"error": "corrupt: PNG"}, "no image: corrupt: PNG"),
        ({"label": None}, "no label: the file lies in no sub-folder"),
        ({"sharpness": 9.0}, "blurred: sharpness 9, min_sharpness is 10"),
        ({"luminance": 10.0}, "dark: luminance 10, min_luminance is 20"),
        ({"luminance": 201.0}, "bright: luminance 201, max_luminance is 200"),
        ({"clipped": 0.75}, "clipped: clipped 0.75, max_clipped is 0.5"),
        ({"entropy": 0.5}, "little to see: entropy 0.5, min_entropy is 1"),
        ({"sharpness": None, "sharpness_error": "ValueError: x"}, "not scored: sharpness, ValueError: x"),
        ({"entropy": None, "entropy_rev": None}, "not scored: entropy"),
        ({"sharpness": None}, "not scored: sharpness is null"),
        ({"group_id": None, "first_group_id": None}, "not scored: near_duplicates"),
    ],
)
def test_an_image_left_out_has_its_reason(values: dict[str, Any], reason: str) -> None:
    good, bad = choose([row("a"), row("b", **values)], SETTINGS)
    assert (good.left_out, good.split) == (None, split_of("a"))
    assert (bad.left_out, bad.split) == (reason, None)


def test_a_label_that_was_not_chosen_is_left_out() -> None:
    settings = SETTINGS.model_copy(update={"labels": ["gym", "lobby"]})
    assert choose([row("a")], settings)[0].left_out == "label not chosen: pool"


def test_the_oldest_usable_image_of_a_group_is_taken() -> None:
    together = {"group_id": "a", "first_group_id": "a"}
    rows = [row("a", **together, sharpness=1.0), row("b", **together), row("c", **together)]
    assert [choice.left_out for choice in choose(rows, SETTINGS)] == [
        "blurred: sharpness 1, min_sharpness is 10",
        None,
        "near-duplicate: of b",
    ]


def test_a_group_with_several_labels_is_left_out_whole() -> None:
    together = {"group_id": "a", "first_group_id": "a"}
    rows = [row("a", **together), row("b", **together, label="gym"), row("c", **together, sharpness=1.0)]
    reasons = [str(choice.left_out).split(":")[0] for choice in choose(rows, SETTINGS)]
    assert reasons == ["conflicting labels", "conflicting labels", "blurred"]


def of_split(wanted: str) -> str:
    return next(f"g{number}" for number in range(1000) if split_of(f"g{number}") == wanted)


def test_where_groups_of_two_splits_join_the_held_out_side_is_left_out() -> None:
    train, test = of_split(TRAIN), of_split(TEST)
    rows = [row("old", group_id="g", first_group_id=test), row("new", group_id="g", first_group_id=train)]
    old, new = choose(rows, SETTINGS)
    assert (old.left_out, new.split) == ("seen in another split: g", TRAIN)


def test_splits_have_their_shares_and_depend_on_nothing_else() -> None:
    counts = Counter(split_of(f"image-{number}") for number in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.65, abs=0.02)
    assert counts["validation"] / 20_000 == pytest.approx(0.10, abs=0.02)
    assert counts["test"] / 20_000 == pytest.approx(0.25, abs=0.02)
    # Written down, so that a change of the hash, which would move every example, cannot go unseen.
    assert [split_of(name) for name in ("a", "b", "g", "h")] == ["test", "train", "test", "validation"]
