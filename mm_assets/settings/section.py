"""The base of every section of the settings, and the sections that more than one stage needs."""

import re
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

MiB = 2**20
S3 = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")

ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Share = Annotated[float, Field(ge=0, le=1)]

Part = TypeVar("Part", bound=BaseModel)


def s3_uri(value: str, what: str, instead: str) -> str:
    """An s3 uri without slashes at its end.

    Raises:
        ValueError: the uri has another scheme, or no bucket.
    """
    if value.startswith(("http://", "https://")):
        raise ValueError(f"{value}: objects behind http(s) are not read yet; give {instead}")
    bucket = value.removeprefix(S3).split("/")[0]
    if not value.startswith(S3) or not BUCKET.fullmatch(bucket):
        raise ValueError(f"{value} cannot {what}: give {instead}")
    return value.rstrip("/")


class Section(BaseModel):
    """A group of settings: closed (an unknown name is refused) and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def part(self, kind: type[Part]) -> Part:
        """The fields that this section inherits from another, as that section."""
        return kind(**{name: getattr(self, name) for name in kind.model_fields})


class S3Settings(Section):
    """The S3 store of the source and of the lake; its secrets come from the environment (AWS_ACCESS_KEY_ID, ...)."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/\s@:]+(:\d+)?/?$",
        description="Address of OSS, MinIO and other stores, such as https://oss-cn-hangzhou.aliyuncs.com; unset: AWS.",
    )
    region: str | None = Field(None, description="Region of the buckets; unset: from the environment.")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description="`path`: host/bucket/key (MinIO); `virtual`: bucket.host/key (OSS); `auto`: the client's choice.",
    )


class Resources(Section):
    """What one worker takes of the Ray cluster."""

    cpus: float = Field(1, gt=0, description="Number of CPUs; a model computes with as many threads.")
    gpus: float = Field(0, ge=0, description="Number of GPUs; with 0 a model runs on the CPU.")
    memory_bytes: int | None = Field(None, gt=0, description="Memory that Ray reserves, in bytes.")
    other: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="Amounts of the cluster's own resources, by name."
    )

    @model_validator(mode="after")
    def _as_ray_takes_them(self) -> Self:
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus {self.gpus:g}: a worker takes a part of one GPU, or whole ones")
        named = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_bytes"}
        clash = sorted(named.keys() & self.other.keys())
        if clash:
            raise ValueError(f"other: {clash[0]} has a setting of its own: {named[clash[0]]}")
        return self
