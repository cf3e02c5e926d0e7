"""One typed settings object: a profile (YAML) overridden by `MM_` environment variables, refused at load when wrong."""

from mm_assets.settings.loading import digest, known_variables, load_settings
from mm_assets.settings.operation import AutomationSettings, ChecksSettings, UpkeepSettings
from mm_assets.settings.root import DRAWN, PREFIX, PROFILES, Settings, SettingsError, profile_path
from mm_assets.settings.section import Resources, S3Settings, Section
from mm_assets.settings.serving import BundleSettings, ServeSettings
from mm_assets.settings.stages import (
    PILLOW_MAX_PIXELS,
    BaseModelSettings,
    CurateSettings,
    Decoding,
    DuplicateSettings,
    EvaluateSettings,
    ImageLimits,
    IngestSettings,
    Limit,
    PredictSettings,
    ScoreSettings,
    TaskName,
    TaskSettings,
    TrainSettings,
)

__all__ = [
    "DRAWN",
    "PILLOW_MAX_PIXELS",
    "PREFIX",
    "PROFILES",
    "AutomationSettings",
    "BaseModelSettings",
    "BundleSettings",
    "ChecksSettings",
    "CurateSettings",
    "Decoding",
    "DuplicateSettings",
    "EvaluateSettings",
    "ImageLimits",
    "IngestSettings",
    "Limit",
    "PredictSettings",
    "Resources",
    "S3Settings",
    "ScoreSettings",
    "Section",
    "ServeSettings",
    "Settings",
    "SettingsError",
    "TaskName",
    "TaskSettings",
    "TrainSettings",
    "UpkeepSettings",
    "digest",
    "known_variables",
    "load_settings",
    "profile_path",
]
