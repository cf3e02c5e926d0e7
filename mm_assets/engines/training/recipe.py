"""The recipe of a training, as arguments of TRL and PEFT."""

from peft import LoraConfig
from trl import SFTConfig

from mm_assets.engines.training.families import Family
from mm_assets.engines.training.parallel import devices
from mm_assets.settings import TrainSettings


def arguments(settings: TrainSettings, family: Family, folder: str) -> SFTConfig:
    """The trainer's arguments.

    Args:
        settings: the recipe.
        family: of the base model.
        folder: for the trainer's checkpoints.
    """
    return SFTConfig(
        output_dir=folder,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_steps,
        optim="adamw_torch",
        seed=settings.seed,
        data_seed=settings.seed,
        max_length=None,  # truncation would cut image tokens; every example was held to the limit before
        assistant_only_loss=True,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ddp_find_unused_parameters=family.leaves_parameters_unused,
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=5,
        disable_tqdm=True,
        report_to=[],
        **devices(settings),
    )


def adapter(settings: TrainSettings, family: Family) -> LoraConfig:
    """The LoRA adapter that is trained beside the frozen weights."""
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        target_modules=family.lora_targets,
        exclude_modules=settings.lora_exclude,
        modules_to_save=settings.modules_to_save or None,
        task_type="CAUSAL_LM",
    )
