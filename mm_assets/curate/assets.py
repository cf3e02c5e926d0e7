"""From scored images to chat examples."""

import dagster as dg

from mm_assets.finetune.assets import base_model
from mm_assets.ingest.assets import image_table
from mm_assets.lineage.pins import materialize
from mm_assets.resources import Lake
from mm_assets.score.assets import near_duplicates
from mm_assets.settings import Settings


@dg.asset(
    group_name="curate",
    deps=[
        image_table,
        dg.AssetKey(["scores", "sharpness"]),
        dg.AssetKey(["scores", "exposure"]),
        dg.AssetKey(["scores", "entropy"]),
        near_duplicates,
        base_model,
    ],
    code_version="1",
    kinds={"lance"},
    owners=["team:ml"],
    pool="sft",
)
def sft_dataset(
    context: dg.AssetExecutionContext, lake: Lake, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """One row per image: a chat example in TRL's format with its split, or the reason why it was left out.

    Thresholds come from the profile; of each near-duplicate group one image is taken, and groups with conflicting
    labels are left out; the split (65 / 10 / 25) is decided once, by a hash. Every example passes a pre-flight:
    placeholders match images, roles alternate, and its tokens (image tokens included) are within the limit.
    """
    from mm_assets.curate.job import build_dataset

    return materialize(context, lake, lambda step: build_dataset(step, lake.tables(), settings.curate))
