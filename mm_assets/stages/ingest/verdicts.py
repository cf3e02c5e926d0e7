"""Verdicts on the image table: the share of rejected objects, and whether copies have the same label."""

import pyarrow as pa

from mm_assets.judging.clashes import clashing
from mm_assets.judging.verdicts import Verdict, at_most, limit, of, share
from mm_assets.previews.rows import largest
from mm_assets.reasons import reasons

# Reasons, and copies with several labels, in the metadata, at most.
REASONS, EXAMPLES = 20, 40
REJECTS, CONFLICTS = "checks.max_reject_share", "checks.max_label_conflicts"


def reject_share(rows: int, errors: pa.ChunkedArray, most: float) -> Verdict:
    """Whether few enough objects are no usable image.

    Args:
        rows: number of rows of the table.
        errors: errors of the rejected ones.
        most: greatest share, 0 to 1.
    """
    rejected = len(errors)
    passed = at_most(rejected, rows, most)
    counts = dict(largest(reasons(errors), REASONS)[0])
    often = f", most often for: {next(iter(counts))}" if counts else ""
    do = "" if passed else ": look at the column error, and mend the source or allow more"
    return Verdict(
        "reject_share",
        passed,
        f"{of(rejected, rows, 'objects')} are no usable image{often}; {limit(REJECTS, most)}{do}",
        {"rejected": rejected, "rows": rows, "share": share(rejected, rows), "reasons": counts or None},
        "WARN",
    )


def label_conflicts(images: pa.Table, most: float) -> Verdict:
    """Whether the same bytes always have the same label; an image without a label is left out of it.

    Args:
        images: the usable images: `image_id`, `sha256`, `label`.
        most: greatest share of images with a copy of another label, 0 to 1.
    """
    conflicts = images.filter(pa.array(clashing(images["sha256"], images["label"])))
    passed = at_most(conflicts.num_rows, images.num_rows, most)
    do = "" if passed else ": give each file one label in the source, or remove its copies"
    part = of(conflicts.num_rows, images.num_rows, "images")
    return Verdict(
        "label_conflicts",
        passed,
        f"{part} have a copy, byte for byte, with another label; {limit(CONFLICTS, most)}{do}",
        {
            "images": conflicts.num_rows,
            "share": share(conflicts.num_rows, images.num_rows),
            "examples": _examples(conflicts) or None,
        },
        "WARN",
    )


def _examples(conflicts: pa.Table) -> list[dict[str, str]]:
    """Some copies, one row for each image (the UI cuts long cells); copies of one file follow each other."""
    first = conflicts.sort_by([("sha256", "ascending"), ("image_id", "ascending")])[:EXAMPLES].to_pylist()
    return [{"sha256": row["sha256"][:12], "label": row["label"], "image": row["image_id"]} for row in first]
