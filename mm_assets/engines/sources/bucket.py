"""Images in a bucket: everything below `s3://bucket/prefix`, with names and labels as in a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

import pyarrow as pa

from mm_assets.engines.sources.s3_objects import read_object, refusal
from mm_assets.engines.sources.source import Row, counted, row_of, table_of
from mm_assets.engines.store.errors import STORE_ERRORS
from mm_assets.engines.store.s3 import listed, object_of, split
from mm_assets.settings import S3Settings


@dataclass(frozen=True)
class S3Source:
    """The objects below `place` (`s3://bucket` or `s3://bucket/prefix`)."""

    place: str
    s3: S3Settings

    @classmethod
    def from_setting(cls, setting: str, s3: S3Settings) -> Self | None:
        """See `Kind`."""
        return cls(setting, s3) if object_of(setting) is not None else None

    def list(self, say: Callable[[str], None]) -> pa.Table:
        """See `Source`; in the order of the keys' bytes, as the store lists them.

        Raises:
            RefusalError: the store cannot be reached, or forbids the listing of this bucket.
        """
        try:
            return table_of(counted(self._rows(), say))
        except STORE_ERRORS as error:
            raise refusal(self.place, self.s3, error) from None

    def _rows(self) -> Iterator[Row]:
        bucket, prefix = self._root()
        for item in listed(self.s3, bucket, prefix):
            # Consoles write an empty object for a folder.
            if item["Size"] or not item["Key"].endswith("/"):
                yield row_of(item["Key"].removeprefix(prefix).encode(), (item["ETag"].strip('"'), item["Size"]))

    def _root(self) -> tuple[str, str]:
        """Bucket and prefix; the prefix ends in a slash, or `a/b` would match `a/bc/x`."""
        bucket, prefix = split(self.place)
        return bucket, f"{prefix.rstrip('/')}/" if prefix else ""

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        """See `Source`."""
        bucket, prefix = self._root()
        return read_object(self.s3, bucket, prefix + unquote_to_bytes(source_uri).decode(), max_bytes)
