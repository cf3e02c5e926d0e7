"""Reads of one object of a bucket, whose errors are told apart: those of the object, and those of the store.

An object's error is an ImageError: it becomes the object's row, and the job goes on. A store's error ends the job. So
an outage does not turn every image into an error.
"""

import time
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from urllib3.exceptions import HTTPError

from mm_assets.engines.sources.source import Stat, too_large
from mm_assets.engines.store.errors import code_of, described
from mm_assets.engines.store.s3 import client
from mm_assets.images import ImageError
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import S3Settings

# Codes of answers to GET; numbers where the answer had no body.
OF_ONE_OBJECT = {"NoSuchKey", "NotFound", "404", "AccessDenied", "403", "InvalidObjectState", "KeyTooLongError"}
# Errors of a body that was cut off or damaged on its way. Botocore retries requests, but not the reads of a body.
BROKEN = (HTTPClientError, IncompleteReadError, FlexibleChecksumError, HTTPError)
# Seconds before the second, third, ... attempt at a body.
BACKOFF_S = (0.2, 1.0, 5.0)
CHUNK_BYTES = 2**20

ADVICE = {
    "there is none of that name: correct MM_SOURCE, or MM_S3__ENDPOINT where it lies in another store": (
        {"NoSuchBucket", "InvalidBucketName", "ParamValidationError", "NoSuchKey", "404"}
    ),
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN) to valid credentials of this store": (
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
        | {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
    ),
    "let the user of AWS_ACCESS_KEY_ID list and read it, or correct MM_SOURCE": {"AccessDenied", "403"},
    "set MM_S3__REGION to the region of the bucket": (
        {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
    ),
    "set MM_S3__ADDRESSING=virtual": {"SecondLevelDomainForbidden"},
    "set this machine's clock": {"RequestTimeTooSkewed"},
    "the store is overloaded or down: run it again later": (
        {"InternalError", "ServiceUnavailable", "SlowDown", "500", "502", "503", "504"}
    ),
}
ANY_ADVICE = "check MM_SOURCE, MM_S3__ENDPOINT, MM_S3__REGION and the credentials (AWS_ACCESS_KEY_ID)"


def read_object(s3: S3Settings, bucket: str, key: str, max_bytes: int) -> bytes:
    """Read the bytes of one object; a body that breaks off is requested again.

    Raises:
        ImageError: the object is missing, forbidden, archived or too large.
        ClientError, BotoCoreError: the store does not answer, or refuses the bucket or the credentials.
    """
    waits = iter(BACKOFF_S)
    while True:
        answer = _get(s3, bucket, key)
        try:
            return _body(answer, max_bytes)
        except BROKEN:
            wait = next(waits, None)
            if wait is None:
                raise
            time.sleep(wait)
        finally:
            answer["Body"].close()


def _get(s3: S3Settings, bucket: str, key: str) -> Any:  # noqa: ANN401  (a dictionary of boto3)
    try:
        return client(s3).get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if code_of(error) in OF_ONE_OBJECT:
            raise ImageError(f"unreadable: {described(error)}") from error
        raise


def _body(answer: Any, max_bytes: int) -> bytes:  # noqa: ANN401
    size = answer.get("ContentLength", 0)
    if size > max_bytes:
        raise too_large(size, max_bytes)
    data = bytearray()
    # Read until an empty chunk: botocore notices missing bytes only there.
    while chunk := answer["Body"].read(CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:  # the store sends more than its header said
            raise too_large(len(data), max_bytes)
    return bytes(data)


def stat_object(s3: S3Settings, bucket: str, key: str) -> Stat:
    """Etag and size of one object; (None, None) where it cannot be read: `read_object` names the reason.

    Raises:
        ClientError, BotoCoreError: see `read_object`.
    """
    try:
        return stat_of(client(s3).head_object(Bucket=bucket, Key=key))
    except ClientError as error:
        if code_of(error) in ("404", "NoSuchKey"):
            return None, None
    # An answer to HEAD has no body. Only an answer to GET says whether the object or the credentials are refused.
    try:
        answer = _get(s3, bucket, key)
    except ImageError:
        return None, None
    answer["Body"].close()
    return stat_of(answer)


def stat_of(answer: Any) -> Stat:  # noqa: ANN401
    """Etag (without its quotes) and size in an answer to HEAD or GET."""
    return answer["ETag"].strip('"'), answer.get("ContentLength")


def refusal(place: str, s3: S3Settings, error: ClientError | BotoCoreError) -> RefusalError:
    """The error for a source that cannot be read: the place, the store, the reason, and the setting to change."""
    advice = next((text for text, codes in ADVICE.items() if code_of(error) in codes), ANY_ADVICE)
    if isinstance(error, ConnectionError | HTTPClientError):
        advice = "check MM_S3__ENDPOINT and the network"
    return RefusalError(
        f"source (MM_SOURCE): {place} cannot be read from {s3.endpoint or 'AWS'} ({described(error)}): {advice}"
    )
