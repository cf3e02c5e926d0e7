"""The settings object itself: a profile (YAML) overridden by `MM_` environment variables."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from mm_assets.settings.operation import AutomationSettings, ChecksSettings, UpkeepSettings
from mm_assets.settings.predicting import PredictSettings
from mm_assets.settings.section import S3Settings, s3_uri
from mm_assets.settings.serving import ServeSettings
from mm_assets.settings.stages import (
    BaseModelSettings,
    CurateSettings,
    DuplicateSettings,
    EvaluateSettings,
    IngestSettings,
    ScoreSettings,
    TrainSettings,
)

PREFIX = "MM_"
DRAWN = "drawn"
# Endings of manifests: lists of uris.
MANIFESTS = (".csv", ".jsonl", ".ndjson", ".parquet")
PROFILES = Path(__file__).parent.parent / "profiles"


class SettingsError(ValueError):
    """A setting is wrong; the message names each field and says what would be right."""


class Settings(BaseSettings):
    """All settings of the graph; `mm_assets/profiles/` has complete examples."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_parse_none_str="null"
    )

    profile: str = Field("local", description="Name of a profile of this package, or path of your own YAML file.")
    source: str = Field(
        DRAWN,
        description="Where the images come from: a folder or `s3://bucket/prefix` (label = first sub-folder), a "
        "manifest (`.csv`, `.jsonl`, `.parquet`; a path or an s3 uri), or `drawn`: the project's own pictures.",
    )
    lake: str = Field(
        "lake", description="Folder or `s3://bucket/prefix` for the Lance tables, the models and the bundles."
    )
    s3: S3Settings = S3Settings()
    single_writer: bool = Field(
        False,
        description="Allow a lake on a store without atomic conditional PUTs; then never start two runs on it at once.",
    )
    ray_address: str | None = Field(
        None, description="`host:port` of an existing Ray cluster that this machine is a node of; unset starts one."
    )
    shared_folders: bool = Field(
        False, description="Whether every node of the Ray cluster has the folders (lake, source) at the same path."
    )
    ingest: IngestSettings = IngestSettings()
    score: ScoreSettings = ScoreSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    curate: CurateSettings
    base: BaseModelSettings
    train: TrainSettings
    evaluate: EvaluateSettings = EvaluateSettings()
    predict: PredictSettings = PredictSettings()
    serve: ServeSettings = ServeSettings()
    checks: ChecksSettings = ChecksSettings()
    automation: AutomationSettings = AutomationSettings()
    upkeep: UpkeepSettings = UpkeepSettings()

    @field_validator("source")
    @classmethod
    def _source_exists(cls, value: str) -> str:
        if value == DRAWN:
            return value
        if "://" in value or value.startswith("s3:"):
            return s3_uri(value, "be read", f"a folder, a manifest, s3://bucket/prefix, or `{DRAWN}`")
        path = Path(value).expanduser()
        if path.suffix.lower() in MANIFESTS and path.is_file():
            return str(path.resolve())
        if not path.is_dir():
            raise ValueError(
                f"there is no folder {value}: give a folder with one sub-folder per label, a manifest "
                f"({', '.join(MANIFESTS)}), or s3://bucket/prefix"
            )
        return str(path.resolve())

    @field_validator("lake")
    @classmethod
    def _lake_is_a_place(cls, value: str) -> str:
        if "://" in value or value.startswith("s3:"):
            return s3_uri(value, "hold a lake", "a folder, or s3://bucket/prefix")
        path = Path(value).expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise ValueError(f"{value} is a file: give a folder")
        return str(path)

    @field_validator("ray_address")
    @classmethod
    def _not_ray_client(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"auto|[^/\s:]+:\d+|\[[0-9a-fA-F:]+\]:\d+", value):
            raise ValueError(
                f"{value} is no address of a cluster: give host:port of its head, such as 10.0.0.5:6379 (Ray Client, "
                "ray://, is not used: join this machine with `ray start --address=... --num-cpus=0`)"
            )
        return value

    @model_validator(mode="after")
    def _lake_outside_source(self) -> Self:
        if Path(self.source).suffix.lower() not in MANIFESTS and f"{self.lake}/".startswith(f"{self.source}/"):
            raise ValueError("lake lies inside source, and would be listed as images: set MM_LAKE to another place")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, profile."""
        profile = profile_path(os.environ.get(f"{PREFIX}PROFILE", "local"))
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=profile)


SettingValue = BaseModel | Mapping[str, Any] | str
# By asset: gives the part of the settings that its result depends on.
Reads = Mapping[str, Callable[[Settings], list[SettingValue]]]


def profile_path(profile: str) -> Path:
    """The YAML file of a profile.

    Raises:
        SettingsError: there is no profile of that name, and no file at that path.
    """
    named = PROFILES / f"{profile}.yaml"
    path = named if named.is_file() else Path(profile).expanduser()
    if not path.is_file():
        profiles = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise SettingsError(
            f"profile (MM_PROFILE): no profile {profile!r}; known are {profiles}, or the path of a file"
        )
    return path
