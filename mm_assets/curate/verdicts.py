"""Verdicts on the dataset: what must hold before it is published, and whether its classes are of like size."""

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.clashes import clashing
from mm_assets.curate.splits import SHARES
from mm_assets.curate.summary import counts, labels_of, left_out_by_pre_flight, of_task
from mm_assets.lineage.verdicts import Verdict, limit, of
from mm_assets.settings import CurateSettings

# Of leaks, in the metadata.
EXAMPLES = 20
PRE_FLIGHT_SHARE, CLASS_SHARE = "checks.max_pre_flight_share", "checks.min_class_share"


def leak_free_split(examples: pa.Table) -> Verdict:
    """Whether no near-duplicate group and no file is in more than one split.

    Args:
        examples: `split`, `group_id`, `sha256`.
    """
    leaks = {name: examples.filter(pa.array(clashing(examples[name], examples["split"]))) for name in _KINDS}
    found = {_KINDS[name]: len(pc.unique(rows[name])) for name, rows in leaks.items()}
    passed = not any(found.values())
    sentence = f"no near-duplicate group and no file of {examples.num_rows:,} examples is in more than one split"
    if not passed:
        what = " and ".join(f"{count:,} {kind}{'s' if count > 1 else ''}" for kind, count in found.items() if count)
        sentence = (
            f"of {examples.num_rows:,} examples, {what} would be in more than one split, and none may be: materialize "
            "scores/phash and scores/near_duplicates again, then sft_dataset; identical files belong to one group"
        )
    told = [row for name, rows in leaks.items() for row in _told(name, rows)]
    return Verdict("leak_free_split", passed, sentence, {"examples": examples.num_rows, **found, "leaks": told or None})


_KINDS = {"group_id": "group", "sha256": "file"}


def _told(name: str, rows: pa.Table) -> list[dict[str, str]]:
    """Some leaks of one kind, as a table."""
    values = pc.unique(rows[name])[:EXAMPLES]
    shown = rows.filter(pc.is_in(rows[name], values))
    found = shown.group_by(name).aggregate([("split", "distinct")]).sort_by(name)
    return [
        {"kind": _KINDS[name], "value": row[name], "splits": ", ".join(sorted(row["split_distinct"]))}
        for row in found.to_pylist()
    ]


def pre_flight(rows: pa.Table, settings: CurateSettings, most: float) -> Verdict:
    """Whether few enough chosen examples are unfit, and every split and every class has one that is fit.

    Args:
        rows: `COUNTED` columns of the whole dataset.
        settings: tasks and labels.
        most: greatest share of chosen examples that pre-flight may leave out, 0 to 1.
    """
    examples = rows.filter(pc.is_null(rows["left_out"]))
    unfit = rows.filter(left_out_by_pre_flight(rows))
    chosen = examples.num_rows + unfit.num_rows
    splits = [name for name, _ in SHARES if not counts(examples["split"])[name]]
    classes = _classes_without(rows, examples, settings)
    faults = [
        *([_too_many_unfit(unfit)] if unfit.num_rows > most * chosen else []),
        *([_empty_splits(splits)] if splits else []),
        *([_empty_classes(classes, settings)] if classes else []),
    ]
    sentence = f"{of(unfit.num_rows, chosen, 'chosen examples')} were left out by pre-flight; "
    return Verdict(
        "pre_flight",
        not faults,
        sentence + "; ".join([limit(PRE_FLIGHT_SHARE, most), *faults]),
        {
            "left_out": unfit.num_rows,
            "chosen": chosen,
            "share": unfit.num_rows / chosen if chosen else None,
            "reasons": dict(counts(unfit["left_out"]).most_common(EXAMPLES)) or None,
            "splits_without_examples": splits or None,
            "classes_without_examples": classes or None,
        },
    )


def _classes_without(rows: pa.Table, examples: pa.Table, settings: CurateSettings) -> list[str]:
    """Labels that are asked for, or that a chosen image has, and that no example is of."""
    if not any(task.task == "label" for task in settings.tasks):
        return []
    left = counts(of_task(examples, "label")["label"])
    return [label for label in sorted({*(settings.labels or ()), *labels_of(rows)}) if not left[label]]


def _too_many_unfit(unfit: pa.Table) -> str:
    (reason, times), *_ = counts(unfit["left_out"]).most_common(1)
    return (
        f"those are too many (most often: {reason}, {times:,} times): mend labels or captions, raise curate.max_tokens "
        "(MM_CURATE__MAX_TOKENS), or allow more"
    )


def _empty_splits(splits: list[str]) -> str:
    return (
        f"the split {' and the split '.join(splits)} would have no example: add images (a hash of the image's id, or "
        "of its near-duplicate group's, decides the split; 65 / 10 / 25 of a hundred fall into train, validation, test)"
    )


def _empty_classes(classes: list[str], settings: CurateSettings) -> str:
    do = (
        "add images of it, or take it out of curate.labels (MM_CURATE__LABELS)"
        if settings.labels
        else "add images of it, mend them, or name the labels to learn in curate.labels (MM_CURATE__LABELS)"
    )
    return f"no example would be left of the class {', '.join(classes)}: {do}"


def class_balance(examples: pa.Table, least: float) -> Verdict:
    """Whether the smallest class is not too small beside the largest, and every class is in every split.

    Args:
        examples: `label` and `split`, of the task label.
        least: smallest class in shares of the largest, 0 to 1.
    """
    sizes = counts(examples["label"])
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
        *([f"no example in a split: {', '.join(missing)}: add images of these classes"] if missing else []),
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
    found = examples.group_by(["label", "split"]).aggregate([([], "count_all")]).sort_by("label")
    table: dict[str, dict[str, int]] = {}
    for row in found.to_pylist():
        table.setdefault(row["label"], {})[row["split"]] = row["count_all"]
    return table


def _lacking(splits: dict[str, int]) -> list[str]:
    return [name for name, _ in SHARES if name not in splits]
