"""An answer for every image."""

import dagster as dg

from mm_assets.catalog import BATCH_PREDICTIONS, EVALUATION, IMAGE_TABLE
from mm_assets.resources import LakeResource, RayCluster, RetryConfig
from mm_assets.settings import Reads, Settings, SettingValue
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize


def _reads(settings: Settings) -> list[SettingValue]:
    predict = settings.predict
    return [predict.decoding(), predict.model, predict.engine, predict.sampling, *predict.also]


READS: Reads = {BATCH_PREDICTIONS.key: _reads}


@dg.asset(
    key=asset_key(BATCH_PREDICTIONS),
    deps=[asset_key(IMAGE_TABLE), asset_key(EVALUATION)],
    code_version="1",
    kinds={"pytorch", "ray"},
    # Where both are ready in one run, the scores go first: the dataset waits for them, and nothing waits for this.
    op_tags={"dagster/priority": "-1"},
)
def batch_predictions(
    context: dg.AssetExecutionContext,
    config: RetryConfig,
    lake: LakeResource,
    ray_cluster: RayCluster,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """One row per image content, model and prompt: an answer with its confidence, or an error.

    `predict.task` chooses the first question, `predict.also` further ones. The answer to a `label` question is one of
    the labels; the answer to a `caption` question is free text. The column `confidence_kind` says what the confidence
    measures. For a label it is the answer's share of all answers' likelihood (`label_share`), or the probability of the
    chosen tokens (`path_probability`). For free text it is the geometric mean of the tokens' probabilities
    (`mean_token_probability`). `predict.engine` is `transformers` or `vllm`. `predict.model` chooses this lineage's
    checkpoint (`latest`) or the promoted one (`production`). Only images that this model has not answered yet are
    computed. The metadata give the speed and, where a price is set, the cost.
    """
    from mm_assets.stages.predict.job import predict
    from mm_assets.stages.predict.previews import previews
    from mm_assets.stages.predict.tables import PREDICTIONS_COLUMNS

    return materialize(
        context,
        lake,
        lambda step: predict(
            step, lake.tables(), ray_cluster.cluster(), settings.predict, retry_errors=config.retry_errors
        ),
        previews,
        columns={BATCH_PREDICTIONS.key: PREDICTIONS_COLUMNS},
    )
