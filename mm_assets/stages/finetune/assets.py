"""The base model, and the checkpoint fine-tuned from it."""

import dagster as dg
from pydantic import Field

from mm_assets.resources import LakeResource, RayCluster
from mm_assets.settings import Settings
from mm_assets.steps.materialize import materialize


@dg.asset(group_name="base", code_version="1", kinds={"huggingface"}, owners=["team:ml"])
def base_model(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The model that fine-tuning starts from, with processor and chat template, under the digest of its files.

    A Hugging Face model at a pinned revision, or one built in place by a function (profile `local`: a tiny
    LLaVA-NeXT with random weights, offline).
    """
    from mm_assets.stages.finetune.job import provide_base

    return materialize(context, lake, lambda step: provide_base(step, lake.tables(), settings.base))


class TrainConfig(dg.Config):
    """What a run of the training may be told."""

    force: bool = Field(False, description="Train again, even where a checkpoint of the same inputs and recipe exists.")


@dg.asset(
    group_name="finetune",
    deps=[base_model, dg.AssetKey("sft_dataset")],
    code_version="1",
    kinds={"pytorch", "ray"},
    owners=["team:ml"],
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

    return materialize(
        context,
        lake,
        lambda step: train_checkpoint(step, lake.tables(), ray_cluster.cluster(), settings.train, force=config.force),
        previews,
    )
