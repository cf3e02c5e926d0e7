"""The base model: what fine-tuning starts from."""

import dagster as dg

from mm_assets.catalog import BASE_MODEL
from mm_assets.resources import LakeResource
from mm_assets.settings import Reads, Settings
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize

READS: Reads = {BASE_MODEL.key: lambda settings: [settings.base]}


@dg.asset(key=asset_key(BASE_MODEL), code_version="1", kinds={"huggingface"})
def base_model(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The model that fine-tuning starts from, with its processor and chat template.

    It is a Hugging Face model at a pinned revision, or one that a function builds in place. The profile `local` builds
    a tiny LLaVA-NeXT with random weights, offline. The files lie in the lake under their digest.
    """
    from mm_assets.engines.models.registry import COLUMNS
    from mm_assets.stages.base.job import provide_base

    return materialize(
        context,
        lake,
        lambda step: provide_base(step, lake.tables(), settings.base),
        columns={BASE_MODEL.key: COLUMNS},
    )
