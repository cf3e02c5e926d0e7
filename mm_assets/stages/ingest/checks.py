"""Checks of the image table: warnings only, because the source may be beyond the reader's control."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.catalog import IMAGE_TABLE
from mm_assets.judging.verdicts import Verdict
from mm_assets.resources import LakeResource
from mm_assets.settings import ChecksSettings, Settings
from mm_assets.steps.checks import judged

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized

ASSET = IMAGE_TABLE.key


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "reject_share",
            asset=ASSET,
            description="Warns when a greater share of objects than `checks.max_reject_share` is no usable image.",
        ),
        dg.AssetCheckSpec(
            "label_conflicts",
            asset=ASSET,
            description="Warns when a greater share of images than `checks.max_label_conflicts` has a copy, byte for "
            "byte, with another label.",
        ),
    ],
    can_subset=True,
)
def image_table_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """Rejected objects, and copies that disagree on their label; image bytes are not read."""
    limits = settings.checks
    judges = {
        "reject_share": lambda checked: _reject_share(checked, limits),
        "label_conflicts": lambda checked: _label_conflicts(checked, limits),
    }
    yield from judged(context, lake, {ASSET: judges})


def _reject_share(checked: "Materialized", limits: ChecksSettings) -> Verdict:
    from mm_assets.stages.ingest.verdicts import reject_share

    ds = checked.ds
    errors = ds.to_table(columns=["error"], filter="error is not null")["error"]
    return reject_share(ds.count_rows(), errors, limits.max_reject_share)


def _label_conflicts(checked: "Materialized", limits: ChecksSettings) -> Verdict:
    from mm_assets.stages.ingest.verdicts import label_conflicts

    images = checked.ds.to_table(columns=["image_id", "sha256", "label"], filter="error is null")
    return label_conflicts(images, limits.max_label_conflicts)
