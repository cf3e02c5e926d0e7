"""The promoted model, packed for serving."""

import dagster as dg

from mm_assets.catalog import EVALUATION
from mm_assets.resources import LakeResource
from mm_assets.settings import Settings
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize


@dg.asset(group_name="serve", deps=[asset_key(EVALUATION)], code_version="1", kinds={"huggingface"}, owners=["team:ml"])
def serving_bundle(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The model in production as one `model.tar.gz`, as SageMaker and DJL Serving take it.

    In it are merged weights, tokenizer, processor, serving.properties and a model card, which tells what the model was
    made from and how it was judged. The bundle lies in the lake under `bundles/`, and is uploaded to `serve.upload_to`
    where that is set: in parts with checksums, on from where a killed upload ended. The same model with the same
    settings is not packed again. With nothing promoted there is no bundle, which is a result, not a failure.
    """
    from mm_assets.stages.serve.job import bundle_production
    from mm_assets.stages.serve.previews import previews

    return materialize(
        context,
        lake,
        lambda step: bundle_production(step, lake.tables(), settings.serve, settings.predict.precision),
        previews,
    )
