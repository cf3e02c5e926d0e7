"""All sensors, switched on as the settings say."""

import warnings

import dagster as dg

from mm_assets.operations.automation import source_sensor, tables_sensor, training_sensor
from mm_assets.settings import AutomationSettings, Settings


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors; running from the start where `automation.running` says so, else switched on in the UI."""
    running = settings.automation.running
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
    return [
        source_sensor.build(settings.automation, status),
        conditions_sensor(settings.automation, status),
        training_sensor.build(settings.automation, status),
        tables_sensor.build(settings.automation, status),
    ]


def conditions_sensor(settings: AutomationSettings, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Build `automation`, which looks at the conditions of all assets."""
    with warnings.catch_warnings():
        # In Dagster, conditions of one's own are a beta; the tests hold that they work in the version that is used.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            "automation",
            target=dg.AssetSelection.all(),
            use_user_code_server=True,
            minimum_interval_seconds=settings.conditions_seconds,
            default_status=status,
            description="Runs what is outdated, level by level; the Automation tab of an asset says why or why not.",
        )
