"""The map: every asset in flow order, with its checks, jobs and resources. Start reading here."""

import dagster as dg

from mm_assets.catalog import asset_of
from mm_assets.jobs import JOBS, UPKEEP, build_schedules
from mm_assets.operations.automation.conditions import condition_of
from mm_assets.operations.automation.sensors import build_sensors
from mm_assets.operations.verify.ops import lineage_checks
from mm_assets.own_code import OwnCodeError, check, modules
from mm_assets.resources import ImageSource, LakeResource, RayCluster
from mm_assets.settings import Reads, Settings, SettingsError, digest, load_settings
from mm_assets.stages.base import assets as base
from mm_assets.stages.curate import assets as curate
from mm_assets.stages.curate.checks import sft_dataset_checks
from mm_assets.stages.evaluate import assets as evaluate
from mm_assets.stages.finetune import assets as finetune
from mm_assets.stages.ingest import assets as ingest
from mm_assets.stages.ingest.checks import image_table_checks
from mm_assets.stages.predict import assets as predict
from mm_assets.stages.predict.checks import batch_predictions_checks
from mm_assets.stages.score import assets as score
from mm_assets.stages.score.checks import near_duplicates_checks, score_checks
from mm_assets.stages.score.registry import all_scorers, limited
from mm_assets.stages.score.tables import image_columns
from mm_assets.stages.serve import assets as serve

# By asset, the settings that its result depends on. Its code version is its revision and their digest.
READS: Reads = {
    **ingest.READS,
    **score.READS,
    **base.READS,
    **curate.READS,
    **finetune.READS,
    **evaluate.READS,
    **predict.READS,
    **serve.READS,
}


def assets_in_flow_order(settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets of the graph, with the scorers that the profile adds.

    Raises:
        SettingsError: code that the profile names cannot be loaded.
    """
    try:
        check(settings.base.builder)
    except OwnCodeError as error:
        raise SettingsError(f"base.builder (MM_BASE__BUILDER): {error}") from error
    scorers = all_scorers(settings.score)
    columns = image_columns(scorers.values())
    return [
        ingest.raw_images,
        ingest.image_table_asset(columns),
        score.scores_asset(scorers, columns),
        score.near_duplicates_asset(columns),
        base.base_model,
        curate.sft_dataset_asset(scorers, limited(settings, scorers)),
        finetune.llava_checkpoint,
        evaluate.evaluation,
        predict.batch_predictions,
        serve.serving_bundle,
    ]


def checks_in_flow_order(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """The checks that run after their asset.

    Two checks of `sft_dataset` run inside that asset, before it is published.
    """
    return [
        image_table_checks,
        score_checks(all_scorers(settings.score)),
        near_duplicates_checks,
        sft_dataset_checks,
        batch_predictions_checks,
    ]


def build(settings: Settings) -> dg.Definitions:
    """Build the code location for the given settings."""

    def completed(spec: dg.AssetSpec) -> dg.AssetSpec:
        row, read = asset_of(spec.key.to_user_string()), READS.get(spec.key.to_user_string())
        version = f"{spec.code_version}-{digest(*read(settings))}" if read else spec.code_version
        return spec.replace_attributes(
            code_version=version,
            group_name=row.group,
            owners=list(row.owners),
            automation_condition=condition_of(spec.key),
        )

    assets = assets_in_flow_order(settings)
    keys = [key for asset in assets for key in sorted(asset.keys)]
    s3 = settings.s3.model_dump(exclude_none=True)  # Dagster takes no null in a map
    return dg.Definitions(
        assets=list(dg.map_asset_specs(completed, assets)),
        asset_checks=[*checks_in_flow_order(settings), *lineage_checks(keys)],
        jobs=[*JOBS, *UPKEEP],
        schedules=build_schedules(settings.automation),
        sensors=build_sensors(settings),
        resources={
            "settings": settings,
            "lake": LakeResource(root=settings.lake, s3=s3, single_writer=settings.single_writer),
            "ray_cluster": RayCluster(
                address=settings.ray_address,
                modules=modules(settings.score.own),
                places=[settings.source, settings.lake],
                shared_folders=settings.shared_folders,
            ),
            "image_source": ImageSource(source=settings.source, s3=s3),
        },
        # Steps share one process, and with it one Ray cluster: starting Ray anew for each costs more than most steps.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Read the settings when the code location is loaded, not when this module is imported."""
    return build(load_settings())
