"""An answer for every image."""

import dagster as dg

from mm_assets.evaluate.assets import evaluation
from mm_assets.ingest.assets import image_table
from mm_assets.lineage.pins import materialize
from mm_assets.resources import Lake, RayCluster, RetryConfig
from mm_assets.settings import Settings


@dg.asset(
    group_name="predict",
    deps=[image_table, evaluation],
    code_version="1",
    kinds={"pytorch", "ray"},
    owners=["team:ml"],
    # Where both are ready in one run, the scores go first: the dataset waits for them, and for this nobody does.
    op_tags={"dagster/priority": "-1"},
)
def batch_predictions(
    context: dg.AssetExecutionContext,
    config: RetryConfig,
    lake: Lake,
    ray_cluster: RayCluster,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """One row per image content, model and prompt: an answer with its confidence, or an error.

    `predict.task` chooses what is asked. An answer of the task `label` is held to the labels, and its confidence is its
    share of their likelihood; one of the task `caption` is free text, always the likeliest token next, and its
    confidence is the geometric mean of the tokens' probabilities. `predict.model` chooses this lineage's checkpoint
    (`latest`) or the promoted one (`production`). Only what this model has not yet answered with this prompt is
    computed.
    """
    from mm_assets.predict.job import predict
    from mm_assets.predict.previews import previews

    return materialize(
        context,
        lake,
        lambda step: predict(
            step, lake.tables(), ray_cluster.cluster(), settings.predict, retry_errors=config.retry_errors
        ),
        previews,
    )
