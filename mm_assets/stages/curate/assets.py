"""From scored images to chat examples."""

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from mm_assets.catalog import BASE_MODEL, IMAGE_TABLE, NEAR_DUPLICATES, SFT_DATASET
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.resources import LakeResource
from mm_assets.scoring import Scorer
from mm_assets.settings import Reads, Settings
from mm_assets.stages.curate.checks import ASSET, BEFORE_PUBLICATION
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize_each

READS: Reads = {ASSET: lambda settings: [settings.curate.decides()]}


def sft_dataset_asset(scorers: Mapping[str, Scorer], limited: Iterable[Scorer]) -> dg.AssetsDefinition:
    """Declare the dataset; it depends on the scorers whose columns the profile limits."""
    keys = {scorer.asset: list(scorer.columns) for scorer in limited}

    @dg.asset(
        key=asset_key(SFT_DATASET),
        deps=[
            asset_key(IMAGE_TABLE),
            *(dg.AssetKey.from_user_string(key) for key in keys),
            asset_key(NEAR_DUPLICATES),
            asset_key(BASE_MODEL),
        ],
        code_version="1",
        kinds={"lance"},
        check_specs=BEFORE_PUBLICATION,
    )
    def sft_dataset(
        context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """One row per image and task: a chat example in TRL's format with its split, or why it was left out.

        The profile sets the tasks (name the label, write the caption), their words and weights, and limits on scores.
        One image of each near-duplicate group is taken; groups with conflicting labels are left out. A hash decides the
        split (65 / 10 / 25) once, the same for both tasks. Every example passes a pre-flight: placeholders match
        images, roles alternate, and its tokens (image tokens included) are within the limit. Nothing is published where
        a split leaks or lacks examples, or where pre-flight leaves out too many.
        """
        from mm_assets.stages.curate.job import build_dataset
        from mm_assets.stages.curate.previews import previews
        from mm_assets.stages.curate.tables import sft_columns

        def build(step: StepContext) -> dict[str, StepResult]:
            chosen = list(scorers.values())
            return {ASSET: build_dataset(step, lake.tables(), settings.curate, chosen, settings.checks)}

        limits = [(key, name) for key, names in keys.items() for name in names if name in settings.curate.limits]
        yield from materialize_each(context, lake, build, previews, columns={ASSET: sft_columns(limits)})

    return sft_dataset
