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
    """The run configuration of a training."""

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
    """LLaVA, fine-tuned on the training split by TRL's SFTTrainer with a LoRA adapter (PEFT), under Ray Train.

    Images are read from Lance at the version that the dataset was made from. The loss counts only the assistant's
    tokens. The merged weights and the adapter lie in the lake under the digest of their files. The same inputs and
    recipe are trained once; `force` trains them again.
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
