"""The probe of a store before the first write: Lance's commits need an atomic `If-None-Match: *` PUT.

A store may ignore the condition, or check it without a lock. Then, where two writers meet, one loses a commit that was
acknowledged. The probe lets several writers create the same new object at once: exactly one may win, each time.
"""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from mm_assets.engines.store.errors import code_of
from mm_assets.engines.store.s3 import client, split
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import S3Settings

ROUNDS, WRITERS = 4, 8
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


@lru_cache
def require_atomic_puts(root: str, s3: S3Settings) -> None:
    """Probe the store of a lake, once per process.

    Raises:
        RefusalError: the store cannot be written to, or does not keep conditional PUTs atomic.
    """
    bucket, prefix = split(root)
    store = s3.endpoint or "AWS"
    try:
        races = [_race(client(s3), bucket, f"{prefix}/.probe-{uuid.uuid4().hex}".lstrip("/")) for _ in range(ROUNDS)]
    except (ClientError, BotoCoreError) as error:
        if code_of(error) in ("NotImplemented", "501"):
            raise RefusalError(
                f"lake (MM_LAKE): the store {store} knows no conditional PUTs (If-None-Match), without which Lance "
                "cannot commit: keep the lake in a folder or in another store (this one may still be the source)"
            ) from None
        raise RefusalError(
            f"lake (MM_LAKE): {root} cannot be written to ({type(error).__name__}: {error}): check the bucket, "
            f"MM_S3__ENDPOINT ({store}), MM_S3__REGION and the credentials in the environment (AWS_ACCESS_KEY_ID, ...)"
        ) from None
    # A race has no winner where the winner's answer was lost on the way. That must not happen in every race.
    if max(races) != 1:
        raise RefusalError(_sentence(store, max(races)))


def _sentence(store: str, winners: int) -> str:
    return (
        f"lake (MM_LAKE): the store {store} does not keep conditional PUTs (If-None-Match) atomic: {winners} of "
        f"{WRITERS} writers of one new object succeeded, so two runs at once could lose each other's commits: use "
        "another store, or set MM_SINGLE_WRITER=true and never let two runs write this lake at once"
    )


def _race(s3: Any, bucket: str, key: str) -> int:  # noqa: ANN401  (a boto3 client)
    """How many of `WRITERS` writers succeed in creating one new object."""
    start = threading.Barrier(WRITERS)

    def put(number: int) -> bool:
        start.wait()
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            if code_of(error) in LOST:
                return False
            raise
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        results = list(pool.map(put, range(WRITERS)))
    s3.delete_object(Bucket=bucket, Key=key)
    return sum(results)
