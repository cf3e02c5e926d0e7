"""The checkpoint: the base model, fine-tuned on the examples."""

import dagster as dg
from pydantic import Field

from mm_assets.catalog import BASE_MODEL, LLAVA_CHECKPOINT, SFT_DATASET
from mm_assets.resources import LakeResource, RayCluster
from mm_assets.settings import Reads, Settings
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize

READS: Reads = {LLAVA_CHECKPOINT.key: lambda settings: [settings.train.recipe()]}


class TrainConfig(dg.Config):
    """What a run of the training may be told."""

    force: bool = Field(False, description="Train again, even where a checkpoint of the same inputs and recipe exists.")


@dg.asset(
    key=asset_key(LLAVA_CHECKPOINT),
    deps=[asset_key(BASE_MODEL), asset_key(SFT_DATASET)],
    code_version="1",
    kinds={"pytorch", "ray"},
)
def llava_checkpoint(
    context: dg.AssetExecutionContext,
    config: TrainConfig,
    lake: LakeResource,
    ray_cluster: RayCluster,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """LLaVA fine-tuned on the training split: TRL's SFTTrainer and a PEFT LoRA adapter under Ray Train.

    Images are read from Lance at the version that the dataset was made from; the loss counts the assistant's tokens
    only. Merged weights and adapter lie under the digest of their files. The same inputs and recipe are not trained
    twice, unless `force` asks.
    """
    from mm_assets.stages.finetune.job import train_checkpoint
    from mm_assets.stages.finetune.previews import previews
    from mm_assets.stages.finetune.tables import CHECKPOINT_COLUMNS

    return materialize(
        context,
        lake,
        lambda step: train_checkpoint(step, lake.tables(), ray_cluster.cluster(), settings.train, force=config.force),
        previews,
        columns={LLAVA_CHECKPOINT.key: CHECKPOINT_COLUMNS},
    )
