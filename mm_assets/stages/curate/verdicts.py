"""Verdicts on the dataset: what must hold before it is published, and whether its classes are of like size."""

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.judging.clashes import clashing
from mm_assets.judging.statistics import count_values
from mm_assets.judging.verdicts import Verdict, at_most, limit, of, share
from mm_assets.settings import CurateSettings
from mm_assets.splits import SHARES, TEST, TRAIN
from mm_assets.stages.curate.summary import (
    by_kind,
    labels_at_hand,
    left_out_by_pre_flight,
    most_often,
    of_task,
    too_few_to_learn,
)

# Leaks in the metadata, and names of classes in a sentence, at most.
EXAMPLES, NAMED = 20, 10
# Characters of a digest that are shown.
SHOWN = 12
PRE_FLIGHT_SHARE, CLASS_SHARE = "checks.max_pre_flight_share", "checks.min_class_share"


def leak_free_split(examples: pa.Table) -> Verdict:
    """Whether no near-duplicate group and no file is in more than one split.

    Args:
        examples: `split`, `group_id`, `image_id`, `sha256`.
    """
    leaks = {name: examples.filter(pa.array(clashing(examples[name], examples["split"]))) for name in _KINDS}
    leaking = {_KINDS[name]: len(pc.unique(rows[name])) for name, rows in leaks.items()}
    passed = not any(leaking.values())
    sentence = f"no near-duplicate group and no file of {examples.num_rows:,} examples is in more than one split"
    if not passed:
        what = " and ".join(f"{count:,} {kind}{'s' if count > 1 else ''}" for kind, count in leaking.items() if count)
        sentence = (
            f"of {examples.num_rows:,} examples, {what} would be in more than one split, and none may be: materialize "
            "scores/phash and scores/near_duplicates again, then sft_dataset; identical files belong to one group"
        )
    shown_leaks = [row for name, rows in leaks.items() for row in _leak_examples(name, rows)]
    return Verdict(
        "leak_free_split", passed, sentence, {"examples": examples.num_rows, **leaking, "leaks": shown_leaks or None}
    )


_KINDS = {"group_id": "group", "sha256": "file"}


def _leak_examples(name: str, rows: pa.Table) -> list[dict[str, str]]:
    """Some leaks of one kind, a row for each image; images of one group or file follow each other."""
    first = rows.sort_by([(name, "ascending"), ("image_id", "ascending")])[:EXAMPLES].to_pylist()
    values = [row[name][:SHOWN] if name == "sha256" else row[name] for row in first]
    return [
        {"in several splits": f"{_KINDS[name]} {value}", "split": row["split"], "image": row["image_id"]}
        for row, value in zip(first, values, strict=True)
    ]


def pre_flight(rows: pa.Table, settings: CurateSettings, most: float) -> Verdict:
    """Whether few enough chosen examples are unfit, every split and class has a fit one, and there is enough to learn.

    A class whose images were all rejected does not count: the image table's checks report rejected images.

    Args:
        rows: `COUNTED` columns of the whole dataset.
        settings: tasks and labels.
        most: greatest share of chosen examples that pre-flight may leave out, 0 to 1.
    """
    examples = rows.filter(pc.is_null(rows["left_out"]))
    unfit = rows.filter(left_out_by_pre_flight(rows))
    chosen = examples.num_rows + unfit.num_rows
    too_few = too_few_to_learn(rows)
    splits = _splits_without(examples, settings)
    classes = _classes_without(rows, examples, settings)
    faults = [
        *([] if at_most(unfit.num_rows, chosen, most) else [_too_many_unfit(unfit)]),
        *([too_few] if too_few else []),
        *([_empty_splits(splits)] if splits and not too_few else []),
        *([_empty_classes(classes, rows, settings)] if classes and not too_few else []),
    ]
    sentence = f"{of(unfit.num_rows, chosen, 'chosen examples')} were left out by pre-flight; "
    return Verdict(
        "pre_flight",
        not faults,
        sentence + "; ".join([limit(PRE_FLIGHT_SHARE, most), *faults]),
        {
            "left_out": unfit.num_rows,
            "chosen": chosen,
            "share": share(unfit.num_rows, chosen),
            "reasons": dict(by_kind(unfit["left_out"]).most_common(EXAMPLES)) or None,
            "splits_without_examples": splits or None,
            "classes_without_examples": classes or None,
        },
    )


def _splits_without(examples: pa.Table, settings: CurateSettings) -> list[str]:
    """Splits without an example, and splits where a task lacks examples to train on or to be judged by.

    Each task is trained on. The evaluation judges by labels, or by captions where they are the only task.
    """
    empty = [name for name, _ in SHARES if not count_values(examples["split"])[name]]
    for task in sorted({task.task for task in settings.tasks}):
        judged = task == "label" or len(settings.tasks) == 1
        counts = count_values(of_task(examples, task)["split"])
        needs = [TRAIN, TEST] if judged else [TRAIN]
        empty += [f"{name} of the task {task}" for name in needs if name not in empty and not counts[name]]
    return empty


def _classes_without(rows: pa.Table, examples: pa.Table, settings: CurateSettings) -> list[str]:
    """Labels that the settings name or an image has, and that no example has."""
    if not any(task.task == "label" for task in settings.tasks):
        return []
    left = count_values(of_task(examples, "label")["label"])
    return [label for label in sorted({*(settings.labels or ()), *labels_at_hand(rows)}) if not left[label]]


def _too_many_unfit(unfit: pa.Table) -> str:
    return (
        f"those are too many (most often: {most_often(unfit['left_out'])}): mend labels or captions, raise "
        "curate.max_tokens (MM_CURATE__MAX_TOKENS), or allow more"
    )


def _empty_splits(splits: list[str]) -> str:
    return (
        f"the split {' and the split '.join(splits)} would have no example: add images (a hash of the image's id, or "
        "of its near-duplicate group's, decides the split; 65 / 10 / 25 of a hundred fall into train, validation, test)"
    )


def _empty_classes(classes: list[str], rows: pa.Table, settings: CurateSettings) -> str:
    do = (
        "add images of it, or take it out of curate.labels (MM_CURATE__LABELS)"
        if settings.labels
        else "add images of it, mend them, or name the labels to learn in curate.labels (MM_CURATE__LABELS)"
    )
    of_them = of_task(rows, "label")
    of_them = of_them.filter(pc.is_in(of_them["label"], pa.array(classes)))
    often = most_often(of_them["left_out"])
    why = f" (most often left out for: {often})" if often else ""
    return f"no example would be left of the class {_some(classes)}{why}: {do}"


def _some(names: list[str]) -> str:
    """Names for a sentence: the first ones, and how many more there are."""
    more = [f"and {len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


def class_balance(examples: pa.Table, least: float) -> Verdict:
    """Whether the smallest class is large enough beside the largest, and every class is in every split.

    Args:
        examples: `label` and `split`, of the task label.
        least: least size of a class as a share of the largest, 0 to 1.
    """
    sizes = count_values(examples["label"])
    if not sizes:
        return Verdict("class_balance", True, "no example has a label to name", severity="WARN")
    table = _by_split(examples)
    missing = [f"{label} ({', '.join(lacks)})" for label, splits in table.items() if (lacks := _lacking(splits))]
    (largest, most), (smallest, fewest) = sizes.most_common(1)[0], sizes.most_common()[-1]
    small = fewest < least * most
    faults = [
        *(
            ["add images of the small classes, or leave them out with curate.labels (MM_CURATE__LABELS)"]
            if small
            else []
        ),
        *([f"no example in a split: {_some(missing)}: add images of these classes"] if missing else []),
    ]
    ratio = f"the smallest class ({smallest}: {fewest:,}) has {fewest / most:.1%} of the largest ({largest}: {most:,})"
    return Verdict(
        "class_balance",
        not faults,
        "; ".join([ratio, limit(CLASS_SHARE, least), *faults]),
        {"share": fewest / most, "classes": len(sizes), "examples": table},
        "WARN",
    )


def _by_split(examples: pa.Table) -> dict[str, dict[str, int]]:
    counts = examples.group_by(["label", "split"]).aggregate([([], "count_all")]).sort_by("label")
    table: dict[str, dict[str, int]] = {}
    for row in counts.to_pylist():
        table.setdefault(row["label"], {})[row["split"]] = row["count_all"]
    return table


def _lacking(splits: dict[str, int]) -> list[str]:
    return [name for name, _ in SHARES if name not in splits]
