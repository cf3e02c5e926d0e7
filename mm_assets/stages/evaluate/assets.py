"""The gate between a checkpoint and production."""

import dagster as dg

from mm_assets.catalog import EVALUATION, LLAVA_CHECKPOINT
from mm_assets.resources import LakeResource, RayCluster
from mm_assets.settings import Reads, Settings
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize

READS: Reads = {EVALUATION.key: lambda settings: [settings.evaluate, settings.predict.decoding()]}


@dg.asset(
    key=asset_key(EVALUATION),
    deps=[asset_key(LLAVA_CHECKPOINT)],
    code_version="1",
    kinds={"pytorch", "ray"},
)
def evaluation(
    context: dg.AssetExecutionContext, lake: LakeResource, ray_cluster: RayCluster, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The new checkpoint against the production model on the held-out split, and the decision on promotion.

    Both models answer the same examples; before the first promotion, the base model is the champion. Labels are judged
    by accuracy. A checkpoint that was trained on captions alone is judged by TRL's `mean_token_accuracy`: the share of
    the right caption's tokens that the model predicts. The checkpoint is promoted where the paired bootstrap interval
    of the difference lies above zero and its own figure reaches the profile's minimum. Otherwise production stays
    as it is, which is a result, not a failure. The table has one row per example.
    """
    from mm_assets.stages.evaluate.job import evaluate_checkpoint
    from mm_assets.stages.evaluate.previews import previews
    from mm_assets.stages.evaluate.tables import EVALUATIONS_COLUMNS

    return materialize(
        context,
        lake,
        lambda step: evaluate_checkpoint(
            step, lake.tables(), ray_cluster.cluster(), settings.evaluate, settings.predict
        ),
        previews,
        columns={EVALUATION.key: EVALUATIONS_COLUMNS},
    )
