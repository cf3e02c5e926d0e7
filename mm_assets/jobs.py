"""The jobs of the UI and their schedules."""

import dagster as dg

from mm_assets.catalog import LLAVA_CHECKPOINT, keys_where
from mm_assets.operations.upkeep.ops import maintenance
from mm_assets.operations.verify.ops import verify
from mm_assets.settings import AutomationSettings

TRAINING = dg.AssetSelection.assets(*sorted(keys_where(lambda row: row.trains or row.promotes)))
TRAIN_CONFIG = {"ops": {LLAVA_CHECKPOINT.key: {"config": {"force": False}}}}

JOBS = [
    dg.define_asset_job(
        "whole_graph",
        selection=dg.AssetSelection.all(),
        config=TRAIN_CONFIG,
        description="Everything, from the listing of the source to the predictions; what did not change costs nothing.",
    ),
    dg.define_asset_job(
        "refresh_without_training",
        selection=dg.AssetSelection.all() - TRAINING,
        description="New and changed images through listing, table, scores and dataset, and predictions for them with "
        "the model that is there; nothing is trained.",
    ),
    dg.define_asset_job(
        "train_and_evaluate",
        selection=TRAINING,
        config=TRAIN_CONFIG,
        description="Fine-tune on the dataset as it is, and judge the checkpoint against production.",
    ),
]

UPKEEP = [maintenance, verify]


def build_schedules(settings: AutomationSettings) -> list[dg.ScheduleDefinition]:
    """The schedules. `automation.running` starts them at once; else they are switched on in the UI."""
    status = dg.DefaultScheduleStatus.RUNNING if settings.running else dg.DefaultScheduleStatus.STOPPED
    return [
        dg.ScheduleDefinition(
            name="verify_every_week",
            job=verify,
            cron_schedule="0 5 * * 0",
            default_status=status,
            description="The lake's history is proved on Sundays at 05:00 (UTC).",
        ),
        dg.ScheduleDefinition(
            name="maintenance_every_night",
            job=maintenance,
            cron_schedule="0 3 * * *",
            default_status=status,
            description="The tables are put in shape at 03:00 (UTC).",
        ),
    ]
