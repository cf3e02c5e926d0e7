"""Which images become examples: every reason, one per group and task, splits and weights that never leak or move."""

import math
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from mm_assets.scoring import FunctionScorer
from mm_assets.settings import CurateSettings, Limit, ScoreSettings, TaskSettings
from mm_assets.splits import TEST, TRAIN, VALIDATION, split_of
from mm_assets.stages.curate.bounds import bounds_of
from mm_assets.stages.curate.selection import Choice, choose
from mm_assets.stages.score.registry import all_scorers

LABEL = TaskSettings(task="label", prompt="what?", answer="{label}")
CAPTION = TaskSettings(task="caption", prompt="describe", answer="{caption}")
SETTINGS = CurateSettings(
    tasks=[LABEL],
    limits={
        "sharpness": Limit(min=10),
        "luminance": Limit(min=20, max=200),
        "clipped": Limit(max=0.5),
        "entropy": Limit(min=1),
        "watermark": Limit(max=0.5),
        "faces": Limit(min=1, max=3),
    },
)
OWN = FunctionScorer("marks", "1", {"watermark": pa.float32(), "faces": pa.int32()}, lambda _: {}, "")
ALL = [*all_scorers(ScoreSettings()).values(), OWN]


def row(image_id: str, **values: Any) -> dict[str, Any]:
    scores = {"sharpness": 50.0, "luminance": 100.0, "clipped": 0.1, "entropy": 5.0, "watermark": 0.2, "faces": 1}
    names = ("sharpness", "exposure", "entropy", "marks")
    state = {**{f"{name}_rev": "1" for name in names}, **{f"{name}_error": None for name in names}}
    groups = {"group_id": image_id, "first_group_id": image_id}
    words = {"label": "pool", "caption": f"The {image_id}."}
    return {"image_id": image_id, **words, "error": None, **scores, **state, **groups, **values}


def choices(rows: list[dict[str, Any]], settings: CurateSettings = SETTINGS, *tasks: TaskSettings) -> list[Choice]:
    settings = settings.model_copy(update={"tasks": list(tasks)}) if tasks else settings
    return choose(rows, settings, bounds_of(settings, ALL))


def reasons(found: list[Choice]) -> list[str | None]:
    return [choice.left_out and choice.left_out.split(":")[0] for choice in found]


@pytest.mark.parametrize("task", [LABEL, CAPTION], ids=["label", "caption"])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"error": "corrupt: PNG"}, "no image: corrupt: PNG"),
        ({"sharpness": 9.0}, "blurred: sharpness 9, limits.sharpness.min is 10"),
        ({"luminance": 10.0}, "dark: luminance 10, limits.luminance.min is 20"),
        ({"luminance": 201.0}, "bright: luminance 201, limits.luminance.max is 200"),
        ({"clipped": 0.75}, "clipped: clipped 0.75, limits.clipped.max is 0.5"),
        ({"entropy": 0.5}, "little to see: entropy 0.5, limits.entropy.min is 1"),
        ({"watermark": 0.83}, "limit: watermark 0.83, limits.watermark.max is 0.5"),
        ({"faces": 0}, "limit: faces 0, limits.faces.min is 1"),
        ({"faces": 4}, "limit: faces 4, limits.faces.max is 3"),
        ({"sharpness": None, "sharpness_error": "ValueError: x"}, "not scored: sharpness, ValueError: x"),
        ({"watermark": None, "marks_error": "ValueError: x"}, "not scored: marks, ValueError: x"),
        ({"entropy": None, "entropy_rev": None}, "not scored: entropy"),
        ({"sharpness": None}, "not scored: sharpness is null"),
        ({"watermark": math.nan}, "not scored: watermark is no number"),
        ({"group_id": None, "first_group_id": None}, "not scored: near_duplicates"),
    ],
)
def test_an_image_left_out_has_its_reason_in_every_task(
    values: dict[str, Any], reason: str, task: TaskSettings
) -> None:
    good, bad = choices([row("a"), row("b", **values)], SETTINGS, task)
    assert (good.left_out, good.split) == (None, split_of("a"))
    assert (bad.left_out, bad.split) == (reason, None)


def test_only_what_a_setting_limits_is_asked_for() -> None:
    settings = SETTINGS.model_copy(update={"limits": {}})
    assert reasons(choose([row("a", marks_rev=None, watermark=None)], settings, bounds_of(settings, ALL))) == [None]


def test_a_missing_answer_concerns_its_own_task_only() -> None:
    rows = [row("a", label=None), row("b", caption=None), row("c", caption=" \n")]
    found = choices(rows, SETTINGS, LABEL, CAPTION)
    assert [choice.example_id for choice in found] == [
        "label:a",
        "label:b",
        "label:c",
        "caption:a",
        "caption:b",
        "caption:c",
    ]
    assert [choice.left_out for choice in found] == [
        "no label: neither a sub-folder nor a manifest names one",
        None,
        None,
        None,
        "no caption: no manifest gives one",
        "no caption: no manifest gives one",
    ]


def test_a_label_that_was_not_chosen_still_has_a_caption() -> None:
    settings = SETTINGS.model_copy(update={"labels": ["gym", "Terrace/Patio"]})
    found = choices([row("a"), row("b", label="Terrace/Patio")], settings, LABEL, CAPTION)
    assert [choice.left_out for choice in found] == ["label not chosen: pool", None, None, None]


def test_the_oldest_usable_image_of_a_group_is_taken() -> None:
    together = {"group_id": "a", "first_group_id": "a"}
    rows = [row("a", **together, sharpness=1.0), row("b", **together, caption=None), row("c", **together)]
    assert [choice.left_out for choice in choices(rows, SETTINGS, LABEL, CAPTION)] == [
        "blurred: sharpness 1, limits.sharpness.min is 10",
        None,
        "near-duplicate: of b",
        "blurred: sharpness 1, limits.sharpness.min is 10",
        "no caption: no manifest gives one",
        None,
    ]


def test_a_group_with_several_labels_is_left_out_whole_but_for_its_caption() -> None:
    together = {"group_id": "a", "first_group_id": "a"}
    rows = [row("a", **together), row("b", **together, label="gym"), row("c", **together, sharpness=1.0)]
    assert reasons(choices(rows)) == ["conflicting labels", "conflicting labels", "blurred"]
    assert reasons(choices(rows, SETTINGS, CAPTION)) == [None, "near-duplicate", "blurred"]


def of_split(wanted: str) -> str:
    return next(f"g{number}" for number in range(1000) if split_of(f"g{number}") == wanted)


@pytest.mark.parametrize("task", [LABEL, CAPTION], ids=["label", "caption"])
def test_where_groups_of_two_splits_join_the_held_out_side_is_left_out(task: TaskSettings) -> None:
    train, test = of_split(TRAIN), of_split(TEST)
    rows = [row("old", group_id="g", first_group_id=test), row("new", group_id="g", first_group_id=train)]
    old, new = choices(rows, SETTINGS, task)
    assert (old.left_out, new.split) == ("seen in another split: g", TRAIN)


def test_both_tasks_of_an_image_share_its_split() -> None:
    rows = [row(f"image-{number}") for number in range(50)]
    found = choices(rows, SETTINGS, LABEL, CAPTION)
    splits = [choice.split for choice in found]
    assert splits[:50] == splits[50:]
    assert set(splits) == {TRAIN, VALIDATION, TEST}


def test_splits_have_their_shares_and_depend_on_nothing_else() -> None:
    counts = Counter(split_of(f"image-{number}") for number in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.65, abs=0.02)
    assert counts["validation"] / 20_000 == pytest.approx(0.10, abs=0.02)
    assert counts["test"] / 20_000 == pytest.approx(0.25, abs=0.02)
    # Written down, so that a change of the hash, which would move every example, cannot go unseen.
    assert [split_of(name) for name in ("a", "b", "g", "h")] == ["test", "train", "test", "validation"]


def weighed(count: int, label: float, caption: float) -> dict[str, Choice]:
    tasks = [LABEL.model_copy(update={"weight": label}), CAPTION.model_copy(update={"weight": caption})]
    found = choices([row(f"image-{number}") for number in range(count)], SETTINGS, *tasks)
    return {choice.example_id: choice for choice in found}


def test_a_lighter_task_gives_a_share_of_its_training_examples_only() -> None:
    found = list(weighed(3000, label=3, caption=1).values())
    label, caption = found[:3000], found[3000:]
    assert all(choice.left_out is None for choice in label)
    trained = [choice for choice, same in zip(caption, label, strict=True) if same.split == TRAIN]
    assert sum(choice.left_out is None for choice in trained) / len(trained) == pytest.approx(1 / 3, abs=0.04)
    assert {choice.left_out for choice in trained} == {None, "weight: caption has 1 of 3"}
    held_out = [(choice.split, same.split) for choice, same in zip(caption, label, strict=True) if same.split != TRAIN]
    assert all(mine == same for mine, same in held_out)


def test_what_a_weight_takes_does_not_change_as_the_table_grows() -> None:
    few, many = weighed(100, label=2, caption=1), weighed(400, label=2, caption=1)
    assert {key: choice.left_out for key, choice in few.items()} == {key: many[key].left_out for key in few}
    heavier = weighed(100, label=2, caption=1.5)  # a greater share holds the smaller one
    taken = {key for key, choice in few.items() if choice.left_out is None}
    assert taken < {key for key, choice in heavier.items() if choice.left_out is None}
