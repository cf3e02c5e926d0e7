"""Checks of the dataset: two that stop it before it is published, and a warning after that."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.catalog import SFT_DATASET
from mm_assets.judging.verdicts import Verdict
from mm_assets.resources import LakeResource
from mm_assets.settings import Settings
from mm_assets.steps.checks import judged

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized

ASSET = SFT_DATASET.key

# Made by the asset itself, on all rows that the table would have, before it commits any.
BEFORE_PUBLICATION = [
    dg.AssetCheckSpec(
        "leak_free_split",
        asset=ASSET,
        blocking=True,
        description="Nothing is published where a near-duplicate group or a file would be in more than one split.",
    ),
    dg.AssetCheckSpec(
        "pre_flight",
        asset=ASSET,
        blocking=True,
        description="Nothing is published where pre-flight leaves out a greater share of the chosen examples than "
        "`checks.max_pre_flight_share`, or where a split or a class would have no example.",
    ),
]


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "class_balance",
            asset=ASSET,
            description="Warns when the smallest class has less than `checks.min_class_share` of the largest one's "
            "examples, or a class has none in a split.",
        )
    ],
)
def sft_dataset_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """How the examples are spread over classes and splits."""
    least = settings.checks.min_class_share
    yield from judged(context, lake, {ASSET: {"class_balance": lambda checked: _class_balance(checked, least)}})


def _class_balance(checked: "Materialized", least: float) -> Verdict:
    from mm_assets.stages.curate.verdicts import class_balance

    named = "left_out is null and task = 'label'"
    return class_balance(checked.ds.to_table(columns=["label", "split"], filter=named), least)
