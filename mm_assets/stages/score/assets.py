"""Columns added to the image table in place: one asset per scorer, and the near-duplicate groups."""

from collections.abc import Iterator, Mapping

import dagster as dg

from mm_assets.catalog import IMAGE_TABLE, NEAR_DUPLICATES, SCORES
from mm_assets.lineage.columns import TableColumns
from mm_assets.resources import LakeResource, RayCluster, RetryConfig
from mm_assets.scoring import Scorer
from mm_assets.settings import Reads, Settings
from mm_assets.stages.score.duplicates import GROUPING_REVISION
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize, materialize_each

READS: Reads = {NEAR_DUPLICATES.key: lambda settings: [settings.duplicates]}


def scores_asset(scorers: Mapping[str, Scorer], columns: TableColumns) -> dg.AssetsDefinition:
    """Declare one asset per scorer, built-in ones and those of the profile; one step computes them together."""

    @dg.multi_asset(
        name="scores",
        specs=[
            dg.AssetSpec(
                scorer.asset.split("/"),
                deps=[asset_key(IMAGE_TABLE)],
                code_version=scorer.revision,
                description=scorer.description,
                kinds={"lance", "ray"},
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
        """Read each image once for all chosen scorers, and only where a cell of the scorer's revision is missing."""
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
            columns=columns,
        )

    return scores


def near_duplicates_asset(columns: TableColumns) -> dg.AssetsDefinition:
    """Declare the near-duplicate groups; `columns` are those of the whole image table, which its page shows."""

    @dg.asset(
        key=asset_key(NEAR_DUPLICATES),
        deps=[dg.AssetKey.from_user_string(SCORES.member("phash"))],
        code_version=GROUPING_REVISION,
        kinds={"lance"},
    )
    def near_duplicates(
        context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult:
        """Groups of images whose phash differs in few bits (`duplicates.max_distance`).

        The groups are found without comparing all pairs. `group_id` is the group now, named after its first member.
        `first_group_id` is the first group that a row ever had: it is written once, and decides the row's split.
        """
        from mm_assets.stages.score.grouping import group_duplicates
        from mm_assets.stages.score.previews import previews

        return materialize(
            context,
            lake,
            lambda step: group_duplicates(step, lake.tables(), settings.duplicates.max_distance),
            previews,
            columns=columns,
        )

    return near_duplicates
