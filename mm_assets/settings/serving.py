"""The section of serving: what is packed beside the weights, and where the bundle is uploaded."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from mm_assets.settings.section import Section, s3_uri

# `max`, or a count; YAML and the environment may write a number.
Degree = Annotated[str, BeforeValidator(str), Field(pattern=r"^(max|[1-9][0-9]*)$")]
OneWord = r"^[^\s=]+$"


class BundleSettings(Section):
    """What decides a bundle's content, besides the model.

    Names and values are those of LMI, AWS's container with DJL Serving.
    """

    mode: Literal["async", "rolling_batch"] = Field(
        "async", description="Kind of serving.properties: for LMI containers from v15 on (`async`), or for older ones."
    )
    dtype: Literal["bf16", "fp16", "fp32"] | None = Field(
        None, description="Arithmetic of the serving; unset: that of the predictions (`predict.precision`)."
    )
    tensor_parallel_degree: Degree = Field("max", description="GPUs that share one model: a count, or `max` for all.")
    max_model_len: int | None = Field(
        None,
        gt=0,
        description="Greatest length of request and answer, in tokens, image tokens included; unset: the model's own.",
    )
    max_rolling_batch_size: int = Field(
        64, gt=0, description="Greatest number of requests at once, for mode rolling_batch."
    )
    model_loading_timeout: int = Field(
        1800, gt=0, description="Seconds that loading the model may take, for mode rolling_batch."
    )
    model_id: str = Field(
        "/opt/ml/model",
        pattern=OneWord,
        description="Folder of the weights in the container, for mode rolling_batch; SageMaker unpacks them there.",
    )
    license: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$",
        description="License of the base model for the card, such as apache-2.0; unset: the license in the base "
        "model's own card, else `unknown`.",
    )
    model_name: str = Field(
        "mm-assets", pattern=r"^[A-Za-z0-9][\w./:-]*$", description="Name of the model in requests."
    )


class ServeSettings(BundleSettings):
    """The bundle, and where it is uploaded."""

    upload_to: str | None = Field(
        None, description="`s3://bucket/prefix` that bundles are uploaded to, besides the copy in the lake."
    )
    upload_checksum: Literal["sha256", "md5"] = Field(
        "sha256", description="Checksum of each uploaded part; `md5` for stores that refuse SHA-256."
    )
    gzip_level: int = Field(
        0,
        ge=0,
        le=9,
        description="Compression of the bundle: 0 packs about fifteen times as fast as 1, which makes bf16 weights a "
        "fifth smaller. Bundles that exist stay as they are.",
    )

    @field_validator("upload_to")
    @classmethod
    def _is_a_bucket(cls, value: str | None) -> str | None:
        return None if value is None else s3_uri(value, "be uploaded to", "s3://bucket/prefix")

    def bundle(self) -> BundleSettings:
        """The part that decides the bundle's content."""
        return self.part(BundleSettings)
