"""One typed settings object: a profile (YAML) overridden by `MM_` environment variables, refused at load when wrong."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

PREFIX = "MM_"
DRAWN = "drawn"
PROFILES = Path(__file__).parent / "profiles"

MiB = 2**20
# Pillow itself refuses images of more than twice its MAX_IMAGE_PIXELS, whatever we would allow.
PILLOW_MAX_PIXELS = 178_956_970


class SettingsError(ValueError):
    """A setting is wrong: the message names each field and says what would be right."""


def _template(allowed: set[str], text: str) -> str:
    # `{}` is plain text: the drawn profile's prompt has a blank to fill in.
    unknown = set(re.findall(r"{(\w+)}", text)) - allowed
    if unknown:
        listed = " and ".join(f"{{{name}}}" for name in sorted(allowed))
        raise ValueError(f"{{{sorted(unknown)[0]}}} is not known here: the template may use {listed}")
    return text


def _answer_template(text: str) -> str:
    if "{label}" not in text:
        raise ValueError("the answer must contain {label}, or every class would be trained to say the same")
    return _template({"label", "labels"}, text)


PromptTemplate = Annotated[str, Field(min_length=1), AfterValidator(lambda text: _template({"labels"}, text))]
AnswerTemplate = Annotated[str, Field(min_length=1), AfterValidator(_answer_template)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A group of settings: closed (an unknown name is refused) and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImageLimits(Section):
    """What an object may be to become an image."""

    max_bytes: int = Field(64 * MiB, gt=0, description="Largest object that is read, in bytes.")
    max_pixels: int = Field(
        100_000_000, gt=0, le=PILLOW_MAX_PIXELS, description="Largest image that is decoded, in pixels."
    )
    decode_timeout_s: float = Field(20.0, gt=0, description="Seconds after which the decoding of one image is ended.")
    decode_memory_bytes: int = Field(4096 * MiB, ge=512 * MiB, description="Address space of the decoding process.")


class IngestSettings(ImageLimits):
    """What an object may be to become an image, and how much is read between two commits."""

    batch_rows: int = Field(2048, gt=0, description="Rows between two commits, at most.")
    batch_bytes: int = Field(256 * MiB, gt=0, description="Bytes between two commits, at most.")

    def limits(self) -> ImageLimits:
        """The part that decides which images are rejected."""
        return ImageLimits(**{name: getattr(self, name) for name in ImageLimits.model_fields})


class ScoreSettings(Section):
    """How scores are computed."""

    batch_rows: int = Field(4096, gt=0, description="Rows between two commits, at most.")


class DuplicateSettings(Section):
    """When two images count as the same picture."""

    max_distance: int = Field(
        2, ge=0, le=12, description="Hamming distance of two 64-bit phashes: 2 for drawn pictures, 8-10 for photos."
    )


class CurateSettings(Section):
    """Which images become examples, and the words of an example."""

    prompt: PromptTemplate = Field(description="The user's words; may use {labels}.")
    answer: AnswerTemplate = Field(description="The assistant's words; must use {label}, may use {labels}.")
    labels: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, min_length=2, description="The classes to train on; all where unset."
    )
    min_sharpness: float = Field(0.0, ge=0, description="Least variance of the Laplacian (0-255 greyscale).")
    min_luminance: float = Field(0.0, ge=0, le=255, description="Least mean luminance, 0-255.")
    max_luminance: float = Field(255.0, ge=0, le=255, description="Greatest mean luminance, 0-255.")
    max_clipped: Share = Field(1.0, description="Greatest share of pixels at 0 or 255.")
    min_entropy: float = Field(0.0, ge=0, le=8, description="Least entropy of the grey histogram, in bits.")
    max_tokens: int = Field(4096, gt=0, description="Longest example in tokens, image tokens included.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_luminance > self.max_luminance:
            raise ValueError(f"min_luminance {self.min_luminance} is above max_luminance {self.max_luminance}")
        if self.labels is not None and len(set(self.labels)) < 2:
            raise ValueError("labels: one class only; a classifier needs at least two different labels")
        return self


class BaseModelSettings(Section):
    """The model that fine-tuning starts from."""

    kind: Literal["tiny", "huggingface"] = Field(description="`tiny` is built in place, offline, with random weights.")
    model_id: str | None = Field(None, description="Hugging Face id, for kind huggingface.")
    revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="The full commit of the model on the hub, for kind huggingface."
    )
    chat_template: Literal["own", "mistral"] = Field(
        "own", description="`mistral` puts this project's template (with generation marks) in place of the model's own."
    )
    seed: int = Field(0, ge=0, description="Seed of the random weights, for kind tiny.")

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.kind == "huggingface" and not (self.model_id and self.revision):
            raise ValueError("kind huggingface needs model_id and revision (the full commit on the hub)")
        return self


class TrainSettings(Section):
    """The fine-tuning recipe; learning rate as AdamW takes it, batch size per worker."""

    epochs: int = Field(gt=0, description="Passes over the training split.")
    batch_size: int = Field(gt=0, description="Examples per worker and step.")
    gradient_accumulation: int = Field(1, gt=0, description="Steps whose gradients are added up before an update.")
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    warmup_steps: int = Field(10, ge=0, description="Steps of linear warm-up before the cosine.")
    lora_r: int = Field(16, gt=0, description="LoRA rank.")
    lora_alpha: int = Field(32, gt=0, description="LoRA alpha.")
    lora_exclude: str | None = Field(None, description="Regular expression of modules that get no adapter.")
    modules_to_save: list[str] = Field(default_factory=list, description="Modules trained whole, beside the adapter.")
    precision: Literal["float32", "bf16"] = Field("float32", description="Arithmetic of the training.")
    workers: int = Field(1, gt=0, description="Ray Train workers (one GPU each where use_gpu).")
    use_gpu: bool = Field(False, description="Train on GPUs.")
    threads: int = Field(1, gt=0, description="CPU threads per worker; 1 makes a CPU run repeatable to the bit.")
    seed: int = Field(0, ge=0, description="Seed of shuffling and of new weights.")


class EvaluateSettings(Section):
    """What a challenger must show to be promoted."""

    min_accuracy: Share = Field(0.6, description="Least accuracy on the held-out split.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Confidence of the interval of the difference.")
    bootstrap_samples: int = Field(2000, ge=100, description="Resamples of the paired bootstrap.")


class Decoding(Section):
    """What decides on an answer, besides the model."""

    prompt: PromptTemplate | None = Field(None, description="Another prompt than the one the model was trained with.")
    precision: Literal["float32", "bf16"] = Field("float32", description="Arithmetic of the inference.")


class PredictSettings(Decoding):
    """How answers are generated, for the evaluation and for the predictions."""

    model: Literal["latest", "production"] = Field("latest", description="This lineage's checkpoint, or the promoted.")
    batch_size: int = Field(32, gt=0, description="Images per forward pass.")
    answers_at_once: int = Field(8, gt=0, description="Answers per image in one forward pass; each takes a cache.")
    batch_rows: int = Field(2048, gt=0, description="Rows between two commits, at most.")
    actors: int = Field(1, gt=0, description="Ray actors that hold a model.")
    use_gpu: bool = Field(False, description="One GPU per actor.")
    threads: int = Field(1, gt=0, description="CPU threads (and Ray CPUs) per actor.")

    def decoding(self) -> Decoding:
        """The part that decides on an answer, besides the model."""
        return Decoding(**{name: getattr(self, name) for name in Decoding.model_fields})


class Settings(BaseSettings):
    """Everything that the graph can be told; see `mm_assets/profiles/` for complete examples."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    profile: str = Field("local", description="Name of a profile of this package, or path of one's own YAML file.")
    source: str = Field(DRAWN, description="Folder of images (label = sub-folder), or `drawn`: the project's own.")
    lake: str = Field("lake", description="Folder of the Lance tables and the models.")
    ray_address: str | None = Field(None, description="Address of an existing Ray cluster; unset starts one in place.")
    ingest: IngestSettings = IngestSettings()
    score: ScoreSettings = ScoreSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    curate: CurateSettings
    base: BaseModelSettings
    train: TrainSettings
    evaluate: EvaluateSettings = EvaluateSettings()
    predict: PredictSettings = PredictSettings()

    @field_validator("source")
    @classmethod
    def _source_exists(cls, value: str) -> str:
        if value == DRAWN:
            return value
        if "://" in value:
            raise ValueError(f"{value} cannot be read: give a folder, or `{DRAWN}`")
        path = Path(value).expanduser()
        if not path.is_dir():
            raise ValueError(f"there is no folder {value}: give a folder with one sub-folder per label")
        return str(path.resolve())

    @field_validator("lake")
    @classmethod
    def _lake_is_a_folder(cls, value: str) -> str:
        if "://" in value:
            raise ValueError(f"{value} cannot hold a lake: give a folder")
        path = Path(value).expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise ValueError(f"{value} is a file: give a folder")
        return str(path)

    @model_validator(mode="after")
    def _lake_outside_source(self) -> Self:
        if self.source != DRAWN and Path(self.lake).is_relative_to(self.source):
            raise ValueError("lake lies inside source, and would be listed as images: set MM_LAKE to another folder")
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


def profile_path(profile: str) -> Path:
    """The YAML file of a profile.

    Raises:
        SettingsError: no profile of that name, and no file at that path.
    """
    named = PROFILES / f"{profile}.yaml"
    path = named if named.is_file() else Path(profile).expanduser()
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise SettingsError(f"profile (MM_PROFILE): no profile {profile!r}; known are {known}, or the path of a file")
    return path


def known_variables(model: type[BaseModel] | None = None, prefix: str = PREFIX) -> dict[str, str]:
    """All environment variables that are settings, in upper case; with an example where one takes JSON, else ""."""
    known: dict[str, str] = {}
    for name, field in (model or Settings).model_fields.items():
        variable = f"{prefix}{name}".upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            known[variable] = '{"name": "value"}'
            known |= known_variables(field.annotation, f"{variable}__")
        else:
            known[variable] = '["a", "b"]' if "list" in str(field.annotation) else ""
    return known


def load_settings() -> Settings:
    """Read profile and environment.

    Raises:
        SettingsError: a value is wrong or a variable unknown; one line for each.
    """
    _check_variables()
    profile = profile_path(os.environ.get(f"{PREFIX}PROFILE", "local"))
    try:
        if not isinstance(yaml.safe_load(profile.read_text()), dict):
            raise SettingsError(f"profile (MM_PROFILE): {profile} holds no settings: write `name: value` lines")
        return Settings()
    except yaml.YAMLError as error:
        raise SettingsError(f"profile (MM_PROFILE): {profile} is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(item) for item in error.errors())) from None


def _check_variables() -> None:
    known = known_variables()
    given = {name: value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    unknown = sorted(name for name in given if name.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}: known are {', '.join(sorted(known))}")
    for name, value in given.items():
        if not value.strip():
            raise SettingsError(f"{name} is empty: give it a value, or unset it")
        if known[name.upper()] and not _is_json(value):
            raise SettingsError(f"{name} takes JSON, such as {known[name.upper()]} (given: {value})")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _sentence(item: Mapping[str, Any]) -> str:
    path = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
    if not path:
        return str(item["msg"]).removeprefix("Value error, ")
    variable = PREFIX + "__".join(path).upper()
    given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
    return f"{'.'.join(path)} ({variable}): {str(item['msg']).removeprefix('Value error, ')}{given}"


def digest(*sections: BaseModel | str) -> str:
    """Twelve hex digits that change when any of the sections' values changes."""
    values = [section if isinstance(section, str) else section.model_dump(mode="json") for section in sections]
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
