"""One typed settings object: a profile (YAML) overridden by `MM_` environment variables, refused at load when wrong.

A new setting is a field with a description, in the section of its stage; nothing here does any work.
"""

from mm_assets.settings.loading import digest, known_variables, load_settings
from mm_assets.settings.operation import AutomationSettings, ChecksSettings, UpkeepSettings
from mm_assets.settings.predicting import PREDICT, Ask, Decoding, LabelMethod, PredictSettings, Sampling, VllmSettings
from mm_assets.settings.root import DRAWN, PREFIX, PROFILES, Reads, Settings, SettingsError, SettingValue, profile_path
from mm_assets.settings.section import Resources, S3Settings, Section
from mm_assets.settings.serving import BundleSettings, ServeSettings
from mm_assets.settings.stages import (
    PILLOW_MAX_PIXELS,
    BaseModelSettings,
    CurateSettings,
    DuplicateSettings,
    EvaluateSettings,
    ImageLimits,
    IngestSettings,
    Limit,
    ScoreSettings,
    TaskName,
    TaskSettings,
    TrainSettings,
)

__all__ = [
    "DRAWN",
    "PILLOW_MAX_PIXELS",
    "PREDICT",
    "PREFIX",
    "PROFILES",
    "Ask",
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
    "LabelMethod",
    "Limit",
    "PredictSettings",
    "Reads",
    "Resources",
    "S3Settings",
    "Sampling",
    "ScoreSettings",
    "Section",
    "ServeSettings",
    "SettingValue",
    "Settings",
    "SettingsError",
    "TaskName",
    "TaskSettings",
    "TrainSettings",
    "UpkeepSettings",
    "VllmSettings",
    "digest",
    "known_variables",
    "load_settings",
    "profile_path",
]
