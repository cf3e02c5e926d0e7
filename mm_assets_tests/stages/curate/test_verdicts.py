"""The verdicts on a dataset: leaks, what pre-flight leaves out, empty splits and classes, the balance of classes."""

from typing import Any

import pyarrow as pa
import pytest

from mm_assets.settings import CurateSettings
from mm_assets.splits import TEST, TRAIN, VALIDATION
from mm_assets.stages.curate.verdicts import class_balance, leak_free_split, pre_flight
from mm_assets_tests.kit.small_lake import CAPTION, LABEL

NAMING = CurateSettings(tasks=[LABEL])
BOTH = CurateSettings(tasks=[LABEL, CAPTION])

TOO_LONG = "pre-flight: 300 tokens, max_tokens is 200"

LONGER = "pre-flight: 310 tokens, max_tokens is 200"

BLURRED = "blurred: sharpness 12.31, limits.sharpness.min is 60"


def placed(*rows: tuple[str, str, str]) -> pa.Table:
    columns = zip(*((*row, f"{n}.png") for n, row in enumerate(rows)), strict=True) if rows else ([], [], [], [])
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(_PLACED, columns, strict=True)})


_PLACED = ("split", "group_id", "sha256", "image_id")


def counted(*rows: tuple[str, str | None, str | None, str | None]) -> pa.Table:
    """Rows of task, label, split and why they were left out."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("task", "label", "split", "left_out"))}
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


def classes(labels: str = "ab", splits: tuple[str, ...] = (TRAIN, VALIDATION, TEST)) -> list[Any]:
    return [("label", label, split, None) for label in labels for split in splits]


def test_the_same_group_or_file_may_be_in_one_split_only() -> None:
    found = leak_free_split(placed((TRAIN, "g", "1"), (TRAIN, "g", "1"), (TEST, "h", "2")))
    assert (found.passed, found.severity) == (True, "ERROR")
    assert found.sentence == "no near-duplicate group and no file of 3 examples is in more than one split"
    group = leak_free_split(placed((TRAIN, "g", "1"), (TEST, "g", "2"), (TEST, "h", "3")))
    assert not group.passed
    assert "of 3 examples, 1 group would be in more than one split" in group.sentence
    assert "materialize scores/phash and scores/near_duplicates again" in group.sentence
    assert group.figures["leaks"] == [
        {"in several splits": "group g", "split": split, "image": image}
        for split, image in ((TRAIN, "0.png"), (TEST, "1.png"))
    ]
    both = leak_free_split(placed((TRAIN, "g", "1"), (VALIDATION, "g", "2"), (TEST, "h", "1"), (TEST, "i", "2")))
    assert "1 group and 2 files would be" in both.sentence
    assert leak_free_split(placed()).passed


def test_too_many_left_out_by_pre_flight() -> None:
    unfit = [("label", "a", None, TOO_LONG), ("label", "a", None, LONGER)]
    assert pre_flight(counted(*classes("abc"), *unfit), NAMING, 0.2).passed
    found = pre_flight(counted(*classes("abc"), *unfit), NAMING, 0.1)
    assert (found.passed, found.severity) == (False, "ERROR")
    assert found.sentence.startswith(
        "2 of 11 chosen examples (18.2%) were left out by pre-flight; checks.max_pre_flight_share "
        f"(MM_CHECKS__MAX_PRE_FLIGHT_SHARE) is 0.1; those are too many (most often: {TOO_LONG}, 2 times): "
    )
    assert found.figures["reasons"] == {TOO_LONG: 2}
    others = [("label", "a", None, "near-duplicate: of x")] * 9
    assert pre_flight(counted(*classes(), *others), NAMING, 0.0).passed


def test_at_the_limit_is_within_it() -> None:
    """0.29 * 100 is below 29 in floating point."""
    rows = [*classes("abcdefgh"), *([("label", "a", TRAIN, None)] * 47), *([("label", "a", None, TOO_LONG)] * 29)]
    assert pre_flight(counted(*rows), NAMING, 0.29).passed
    assert not pre_flight(counted(*rows), NAMING, 0.28).passed


@pytest.mark.parametrize("missing", [TRAIN, VALIDATION, TEST])
def test_a_split_without_an_example(missing: str) -> None:
    rows = [row for row in classes() if row[2] != missing]
    found = pre_flight(counted(*rows), NAMING, 1.0)
    assert not found.passed
    assert f"the split {missing} would have no example: add images" in found.sentence


@pytest.mark.parametrize(
    ("labels_in", "captions_in", "lacks"),
    [
        ((TRAIN, VALIDATION), (TRAIN, VALIDATION, TEST), ["test of the task label"]),
        ((TRAIN, VALIDATION, TEST), (VALIDATION, TEST), ["train of the task caption"]),
        ((TRAIN, TEST), (TRAIN, VALIDATION), None),  # captions are not judged beside labels
    ],
)
def test_what_a_task_is_trained_and_judged_on(
    labels_in: tuple[str, ...], captions_in: tuple[str, ...], lacks: list[str] | None
) -> None:
    captions = [("caption", None, split, None) for split in captions_in]
    found = pre_flight(counted(*classes("ab", labels_in), *captions), BOTH, 0.1)
    assert found.figures["splits_without_examples"] == lacks
    assert found.passed == (lacks is None)
    assert all(f"the split {split} would have no example" in found.sentence for split in lacks or ())


@pytest.mark.parametrize("why", [TOO_LONG, BLURRED, "conflicting labels: a, sauna"])
def test_a_class_of_which_no_example_is_left(why: str) -> None:
    others = [("label", "rejected", None, "no image: y"), ("label", "", None, "no label: z")]
    rows = counted(*classes("abcdefgh"), ("label", "sauna", None, why), *others)
    found = pre_flight(rows, NAMING, 1.0)
    assert not found.passed
    assert (
        f"no example would be left of the class sauna (most often left out for: {why}, 1 times): add" in found.sentence
    )
    assert found.figures["classes_without_examples"] == ["sauna"]


def test_hundreds_of_empty_classes_are_counted() -> None:
    lost = [("label", f"room {n:03}", None, BLURRED.replace("12", str(n))) for n in range(200)]
    found = pre_flight(counted(*classes(), *lost), NAMING, 1.0)
    assert "room 009, and 190 more (most often left out for: blurred: sharpness 0.31" in found.sentence
    assert "is 60, 200 times)" in found.sentence


def test_a_label_that_is_asked_for_and_not_there() -> None:
    asked = NAMING.model_copy(update={"labels": ["a", "b", "spa"]})
    found = pre_flight(counted(*classes()), asked, 1.0)
    assert not found.passed
    assert "of the class spa: add images of it, or take it out of curate.labels (MM_CURATE__LABELS)" in found.sentence
    captions = CurateSettings(tasks=[CAPTION], labels=["gym", "spa"])
    rows = [("caption", None, split, None) for split in (TRAIN, VALIDATION, TEST)]
    assert pre_flight(counted(*rows), captions, 0.0).passed


def test_a_dataset_without_rows_has_no_split() -> None:
    found = pre_flight(counted(), NAMING, 0.1)
    assert not found.passed
    assert found.figures["splits_without_examples"] == [TRAIN, VALIDATION, TEST]


def spread(**examples: dict[str, int]) -> pa.Table:
    rows = [(label, split) for label, splits in examples.items() for split, n in splits.items() for _ in range(n)]
    return pa.table(
        {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(("label", "split"))}
    )


def test_small_classes_and_classes_missing_from_a_split_are_named() -> None:
    even = {TRAIN: 6, VALIDATION: 1, TEST: 3}
    assert class_balance(spread(gym=even, pool=even), 1.0).passed
    found = class_balance(spread(gym={name: 20 * n for name, n in even.items()}, pool=even), 0.1)
    assert (found.passed, found.severity) == (False, "WARN")
    assert found.sentence.startswith(
        "the smallest class (pool: 10) has 5.0% of the largest (gym: 200); checks.min_class_share "
        "(MM_CHECKS__MIN_CLASS_SHARE) is 0.1; add images of the small classes"
    )
    absent = class_balance(spread(gym=even, pool={TRAIN: 9}), 0.1)
    assert not absent.passed
    assert "no example in a split: pool (validation, test): add images" in absent.sentence


def test_one_class_and_no_label() -> None:
    assert class_balance(spread(gym={TRAIN: 6, VALIDATION: 1, TEST: 3}), 1.0).passed
    assert class_balance(spread(), 1.0).passed
