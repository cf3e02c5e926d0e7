"""Columns added to the image table in place: one asset per scorer, and the near-duplicate groups."""

from collections.abc import Iterator, Mapping

import dagster as dg

from mm_assets.catalog import IMAGE_TABLE
from mm_assets.resources import LakeResource, RayCluster, RetryConfig
from mm_assets.scoring import Scorer
from mm_assets.settings import Settings
from mm_assets.stages.score.duplicates import GROUPING_REVISION
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize, materialize_each


def scores_asset(scorers: Mapping[str, Scorer]) -> dg.AssetsDefinition:
    """One asset per scorer, computed together: the built-in ones and those of the profile."""

    @dg.multi_asset(
        name="scores",
        specs=[
            dg.AssetSpec(
                ["scores", scorer.name],
                deps=[asset_key(IMAGE_TABLE)],
                group_name="score",
                code_version=scorer.revision,
                description=scorer.description,
                kinds={"lance", "ray"},
                owners=["team:data"],
                skippable=True,
            )
            for scorer in scorers.values()
        ],
        can_subset=True,
    )
    def scores(
        context: dg.AssetExecutionContext,
        config: RetryConfig,
        lake: LakeResource,
        ray_cluster: RayCluster,
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Each image is read once for all scorers chosen, and only where a cell is missing at the scorer's revision."""
        from mm_assets.stages.score.job import compute_scores
        from mm_assets.stages.score.previews import previews

        chosen = [scorers[key.path[-1]] for key in sorted(context.selected_asset_keys)]
        yield from materialize_each(
            context,
            lake,
            lambda step: compute_scores(
                step,
                lake.tables(),
                ray_cluster.cluster(),
                chosen,
                settings.score,
                retry_errors=config.retry_errors,
            ),
            previews,
        )

    return scores


@dg.asset(
    key=["scores", "near_duplicates"],
    group_name="score",
    deps=[dg.AssetKey(["scores", "phash"])],
    code_version=GROUPING_REVISION,
    kinds={"lance"},
    owners=["team:data"],
)
def near_duplicates(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Groups of images whose phash differs in few bits (`duplicates.max_distance`), found without comparing all pairs.

    `group_id` is the group now, named after its first member; `first_group_id` is the first group that a row ever had,
    is written once, and decides the row's split.
    """
    from mm_assets.stages.score.grouping import group_duplicates
    from mm_assets.stages.score.previews import previews

    return materialize(
        context, lake, lambda step: group_duplicates(step, lake.tables(), settings.duplicates.max_distance), previews
    )
