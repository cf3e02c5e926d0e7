"""One typed settings object: a profile (YAML) overridden by `MM_` environment variables, refused at load when wrong."""

from mm_assets.settings.loading import digest, known_variables, load_settings
from mm_assets.settings.root import DRAWN, PREFIX, PROFILES, Settings, SettingsError, profile_path
from mm_assets.settings.sections import (
    PILLOW_MAX_PIXELS,
    BaseModelSettings,
    CurateSettings,
    Decoding,
    DuplicateSettings,
    EvaluateSettings,
    ImageLimits,
    IngestSettings,
    PredictSettings,
    Resources,
    S3Settings,
    ScoreSettings,
    Section,
    TrainSettings,
)

__all__ = [
    "DRAWN",
    "PILLOW_MAX_PIXELS",
    "PREFIX",
    "PROFILES",
    "BaseModelSettings",
    "CurateSettings",
    "Decoding",
    "DuplicateSettings",
    "EvaluateSettings",
    "ImageLimits",
    "IngestSettings",
    "PredictSettings",
    "Resources",
    "S3Settings",
    "ScoreSettings",
    "Section",
    "Settings",
    "SettingsError",
    "TrainSettings",
    "digest",
    "known_variables",
    "load_settings",
    "profile_path",
]
