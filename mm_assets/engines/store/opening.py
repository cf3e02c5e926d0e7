"""The place that a uri names: a folder or a bucket. Nothing else tells the two apart."""

from collections.abc import Iterable

from mm_assets.engines.store.bucket import Bucket
from mm_assets.engines.store.folder import Folder
from mm_assets.engines.store.place import Place
from mm_assets.engines.store.s3 import is_s3
from mm_assets.settings import S3Settings


def place_at(uri: str, s3: S3Settings) -> Place:
    """The place of a path, or of an s3 uri in the store of the settings."""
    return Bucket(uri, s3) if is_s3(uri) else Folder(uri)


def local_paths(places: Iterable[str]) -> list[str]:
    """The places that are paths of this machine, which other machines may not have."""
    return [place for place in places if not is_s3(place)]
