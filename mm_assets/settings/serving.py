"""The section about serving: what is packed beside the weights, and where the bundle goes."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from mm_assets.settings.section import Section, s3_uri

# `max`, or a count; YAML and the environment may write a number.
Degree = Annotated[str, BeforeValidator(str), Field(pattern=r"^(max|[1-9][0-9]*)$")]
OneWord = r"^[^\s=]+$"


class BundleSettings(Section):
    """What decides on a bundle's content, beside the model; names and values of LMI, AWS's container with DJL."""

    mode: Literal["async", "rolling_batch"] = Field(
        "async", description="serving.properties for LMI containers since v15 (`async`), or for older ones."
    )
    dtype: Literal["bf16", "fp16", "fp32"] | None = Field(
        None, description="Arithmetic of the serving; unset takes that of the predictions (`predict.precision`)."
    )
    tensor_parallel_degree: Degree = Field("max", description="GPUs that share one model: a count, or `max` for all.")
    max_model_len: int | None = Field(
        None,
        gt=0,
        description="Longest request with its answer, in tokens, image tokens included; unset: the model's.",
    )
    max_rolling_batch_size: int = Field(64, gt=0, description="Requests at once, for mode rolling_batch.")
    model_loading_timeout: int = Field(
        1800, gt=0, description="Seconds that loading the model may take, for mode rolling_batch."
    )
    model_id: str = Field(
        "/opt/ml/model",
        pattern=OneWord,
        description="Where the container has the weights, for mode rolling_batch: SageMaker unpacks them there.",
    )
    license: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$",
        description="License of the base model for the card, such as apache-2.0; unset: what the base's own card says, "
        "else `unknown`.",
    )
    model_name: str = Field(
        "mm-assets", pattern=r"^[A-Za-z0-9][\w./:-]*$", description="Name that requests call the model by."
    )


class ServeSettings(BundleSettings):
    """The bundle, and where it is sent."""

    upload_to: str | None = Field(
        None, description="`s3://bucket/prefix` that bundles are uploaded to, beside the copy in the lake."
    )
    upload_checksum: Literal["sha256", "md5"] = Field(
        "sha256", description="What each uploaded part is checked by; `md5` for stores that refuse SHA-256 checksums."
    )
    gzip_level: int = Field(
        0,
        ge=0,
        le=9,
        description="Of the bundle's file: 0 packs about fifteen times as fast as 1, which takes a fifth off bf16 "
        "weights; what is packed already stays as it is.",
    )

    @field_validator("upload_to")
    @classmethod
    def _is_a_bucket(cls, value: str | None) -> str | None:
        return None if value is None else s3_uri(value, "be uploaded to", "s3://bucket/prefix")

    def bundle(self) -> BundleSettings:
        """The part that decides on the bundle's content."""
        return self.part(BundleSettings)
