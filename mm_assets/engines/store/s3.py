"""The one seam to S3 and its relatives (OSS, MinIO): a client, options for Lance and Arrow, names of objects.

Secrets are never held here: boto3, Lance and Arrow read them from the environment (or from the machine's role).
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import boto3
import pyarrow.fs
from botocore.config import Config

from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import S3Settings
from mm_assets.settings.section import S3

SCHEME = S3.removesuffix("://")
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# Further variables of the environment that decide which store is used.
PLACES = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
# Connections that the threads of one process share.
CONNECTIONS = 32
# Tries of one request, the first included, with exponential backoff (botocore's "standard" mode).
ATTEMPTS = 8

_making = threading.Lock()


def is_s3(place: str) -> bool:
    """Whether a place is an s3 uri rather than a path."""
    return place.startswith(S3)


def split(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix, "" for the whole bucket) of an s3 uri."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    return bucket, key


def object_of(uri: str) -> tuple[str, str] | None:
    """Bucket and key of an s3 uri; None for a path."""
    return split(uri) if is_s3(uri) else None


def object_uri(bucket: str, key: str) -> str:
    """The s3 uri of an object."""
    return f"{S3}{bucket}/{key}"


def client(s3: S3Settings) -> Any:  # noqa: ANN401  (boto3 makes its classes at run time)
    """A client of the store, one per process.

    Clients are thread-safe, but their making in boto3 is not: a lock lets only one thread at a time make one.

    Raises:
        RefusalError: the endpoint is no url.
    """
    with _making:
        try:
            return _client(s3)
        except ValueError as error:
            raise RefusalError(f"s3.endpoint (MM_S3__ENDPOINT): {error}") from None


@lru_cache
def _client(s3: S3Settings) -> Any:  # noqa: ANN401
    style = {"addressing_style": s3.addressing}
    config = Config(
        s3=style,
        # Only where an operation demands them: OSS and others take no upload in signed chunks.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
        max_pool_connections=CONNECTIONS,
    )
    return boto3.client("s3", endpoint_url=s3.endpoint, region_name=_region(s3), config=config)


def listed(s3: S3Settings, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Everything below a prefix: the store's entries (`Key`, `Size`, `ETag`), in the order of the keys' bytes."""
    for page in client(s3).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", ())


def _region(s3: S3Settings) -> str | None:
    # A store with its own endpoint has no regions, but the signature needs one.
    return s3.region or (boto3.Session().region_name or "us-east-1" if s3.endpoint else None)


def storage_options(s3: S3Settings, bucket: str) -> dict[str, str]:
    """Lance's options for the store of a bucket. Lance reads the secrets from the environment itself."""
    virtual = s3.addressing == "virtual"
    options = {"aws_virtual_hosted_style_request": str(virtual).lower()}
    if s3.endpoint:
        # With virtual-hosted addressing Lance takes the endpoint as it is: the bucket must be part of its name.
        endpoint = s3.endpoint.replace("://", f"://{bucket}.") if virtual else s3.endpoint
        options |= {"aws_endpoint": endpoint, "allow_http": "true"}
    region = _region(s3)
    return options | ({"aws_region": region} if region else {})


def filesystem(s3: S3Settings) -> pyarrow.fs.S3FileSystem:
    """Arrow's file system of the store, with the keys of the environment inside; Ray Train keeps checkpoints there.

    The keys of a machine's role are not put in, because they would expire during a training. Arrow renews those itself.
    """
    credentials = boto3.Session().get_credentials()
    frozen = credentials.get_frozen_credentials() if credentials and credentials.method == "env" else None
    return pyarrow.fs.S3FileSystem(
        access_key=frozen and frozen.access_key,
        secret_key=frozen and frozen.secret_key,
        session_token=frozen and frozen.token,
        endpoint_override=s3.endpoint,
        region=_region(s3),
        force_virtual_addressing=s3.addressing == "virtual",
    )


@dataclass(frozen=True)
class Secrets:
    """The credentials in this process's environment, to be sent to workers on other machines.

    They travel as an argument, and not in Ray's runtime environment, which Ray writes into its logs.
    """

    values: dict[str, str] = field(repr=False)

    @classmethod
    def of_environment(cls) -> Self:
        """Read the variables that are set here; a machine with a role may have none."""
        return cls({name: os.environ[name] for name in (*SECRETS, *PLACES) if name in os.environ})

    def restore(self) -> None:
        """Set them in this process."""
        os.environ.update(self.values)
