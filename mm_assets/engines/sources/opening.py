"""The kinds of sources, and the choice of one by the setting."""

from typing import Protocol

from mm_assets.engines.sources.bucket import S3Source
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.sources.manifest import ManifestSource
from mm_assets.engines.sources.source import Source
from mm_assets.settings import S3Settings


class Kind(Protocol):
    """A kind of source; the source's class itself is one."""

    def from_setting(self, setting: str, s3: S3Settings) -> Source | None:
        """The source that a setting names; None where this kind does not take the setting.

        Args:
            setting: from the settings' parser, which makes paths absolute.
            s3: the store of buckets.
        """


# The first kind that takes a setting wins. Manifests come first: one may lie in a folder or in a bucket.
KINDS: tuple[Kind, ...] = (
    ManifestSource,
    S3Source,
    FolderSource,
)


def open_source(setting: str, s3: S3Settings) -> Source:
    """The source that a setting names.

    Raises:
        ValueError: no kind of source takes it.
    """
    for kind in KINDS:
        source = kind.from_setting(setting, s3)
        if source is not None:
            return source
    raise ValueError(f"{setting} is no source that is known here")
