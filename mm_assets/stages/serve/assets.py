"""The promoted model, packed for serving."""

import dagster as dg

from mm_assets.catalog import EVALUATION, SERVING_BUNDLE
from mm_assets.resources import LakeResource
from mm_assets.settings import Reads, Settings, SettingValue
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize


def _reads(settings: Settings) -> list[SettingValue]:
    return [settings.serve.bundle(), settings.serve.upload_to or "", settings.predict.precision]


READS: Reads = {SERVING_BUNDLE.key: _reads}


@dg.asset(key=asset_key(SERVING_BUNDLE), deps=[asset_key(EVALUATION)], code_version="1", kinds={"huggingface"})
def serving_bundle(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The model in production as one `model.tar.gz`, ready for SageMaker and DJL Serving.

    It holds the merged weights, tokenizer, processor, serving.properties and a model card. The card tells what the
    model was made from and how it was judged. The bundle lies in the lake under `bundles/`. Where `serve.upload_to` is
    set it is also uploaded, in parts with checksums; a killed upload continues where it ended. The same model with the
    same settings is packed once. While no model is promoted there is no bundle, which is a result, not a failure.
    """
    from mm_assets.stages.serve.job import bundle_production
    from mm_assets.stages.serve.previews import previews
    from mm_assets.stages.serve.tables import BUNDLES_COLUMNS

    return materialize(
        context,
        lake,
        lambda step: bundle_production(step, lake.tables(), settings.serve, settings.predict.precision),
        previews,
        columns={SERVING_BUNDLE.key: BUNDLES_COLUMNS},
    )
