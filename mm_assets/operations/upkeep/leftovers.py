"""What killed processes left in a lake outside its tables: unfinished models and bundles, uploads that never ended."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from mm_assets.engines.lake.files import File, files_below, remove
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.bundle_files import FOLDER, PACKING
from mm_assets.engines.store.s3 import client, is_s3, split

# Where a lake has files outside its tables, and how the names of folders begin in which something is made (see
# `model_files` and `bundle_files`).
MAKING = {"models": (".building-", ".training-"), FOLDER: (PACKING,)}


@dataclass(frozen=True)
class Leftover:
    """A folder that was removed: its path below the lake, files and bytes."""

    name: str
    files: int
    num_bytes: int


def remove_leftovers(tables: Lake, older_than: float) -> list[Leftover]:
    """Remove folders of unfinished work in which nothing was written since `older_than` (seconds since 1970)."""
    return [
        Leftover(f"{place}/{item.name}", item.files, item.num_bytes)
        for place, beginnings in MAKING.items()
        for item in _removed(tables, f"{tables.root}/{place}", beginnings, older_than)
    ]


def _removed(tables: Lake, place: str, beginnings: tuple[str, ...], older_than: float) -> list[Leftover]:
    folders: dict[str, dict[str, File]] = {name: {} for name in _empty(place, beginnings, older_than)}
    for path, file in files_below(tables, place):
        name = path.split("/")[0]
        if name.startswith(beginnings):
            folders.setdefault(name, {})[path] = file
    done = []
    for name, files in sorted(folders.items()):
        if all(file.written < older_than for file in files.values()):
            remove(tables, place, files)
            if not is_s3(place):
                shutil.rmtree(Path(place, name), ignore_errors=True)
            done.append(Leftover(name, len(files), sum(file.num_bytes for file in files.values())))
    return done


def _empty(place: str, beginnings: tuple[str, ...], older_than: float) -> list[str]:
    """Folders without a file, which only a folder can have."""
    if is_s3(place) or not Path(place).is_dir():
        return []
    folders = [path for path in Path(place).iterdir() if path.name.startswith(beginnings)]
    return [path.name for path in folders if path.is_dir() and path.stat().st_mtime < older_than]


def abort_uploads(tables: Lake, older_than: float) -> int | None:
    """Abort uploads in parts that were begun before `older_than` and never ended: a bucket keeps, and bills, the parts.

    Returns:
        How many there were; None where the store does not tell.
    """
    if not is_s3(tables.root):
        return 0
    bucket, root = split(tables.root)
    store, count = client(tables.s3), 0
    try:
        for page in store.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=f"{root}/".lstrip("/")
        ):
            for item in page.get("Uploads", ()):
                if item["Initiated"].timestamp() < older_than:
                    store.abort_multipart_upload(Bucket=bucket, Key=item["Key"], UploadId=item["UploadId"])
                    count += 1
    except ClientError:  # not every store has it, or lets everyone do it
        return None
    return count
