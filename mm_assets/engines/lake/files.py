"""The files of a table as they lie in a folder or a bucket: what each weighs and how old it is, and their removal."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import lance

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.store.s3 import client, is_s3, listed, split

DATA = "data"
# Requests to a bucket at once.
REQUESTS = 16


@dataclass(frozen=True)
class File:
    """Bytes of a file, and when it was written (seconds since 1970, by the clock of the store)."""

    num_bytes: int
    written: float


def files_of(tables: Lake, table: str) -> dict[str, File]:
    """All files of a table, by their path below it."""
    return dict(files_below(tables, tables.uri(table)))


def files_below(tables: Lake, place: str) -> Iterator[tuple[str, File]]:
    """Path below a place, size and age of every file there; one that goes away meanwhile is left out."""
    if is_s3(place):
        bucket, prefix = split(f"{place}/")
        for item in listed(tables.s3, bucket, prefix):
            yield item["Key"].removeprefix(prefix), File(item["Size"], item["LastModified"].timestamp())
    else:
        yield from _below(place, "")


def _below(folder: str, name: str) -> Iterator[tuple[str, File]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, f"{name}{entry.name}/")
            continue
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield f"{name}{entry.name}", File(found.st_size, found.st_mtime)


def remove(tables: Lake, place: str, paths: Iterable[str]) -> None:
    """Remove files below a place; one that is gone already is no error."""
    if is_s3(place):
        bucket, prefix = split(f"{place}/")
        store = client(tables.s3)
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(lambda path: store.delete_object(Bucket=bucket, Key=prefix + path), paths))
        return
    for path in paths:
        Path(place, path).unlink(missing_ok=True)


def remove_empty_folders(tables: Lake, table: str, older_than: float) -> None:
    """Remove the folders of large images that are left without one (a bucket has no folders)."""
    data = Path(tables.uri(table), DATA)
    if is_s3(tables.root) or not data.is_dir():
        return
    for folder in [entry for entry in os.scandir(data) if entry.is_dir()]:
        if folder.stat().st_mtime < older_than and not any(Path(folder.path).iterdir()):
            try:
                Path(folder.path).rmdir()
            except OSError:  # somebody put a file in meanwhile
                continue


class Weights:
    """Bytes by data file: its own, and those of the images too large for it, which lie in files of their own beside."""

    def __init__(self, files: dict[str, File]) -> None:
        self._bytes: dict[str, int] = {}
        for path, file in files.items():
            parts = PurePosixPath(path).parts
            if parts[0] == DATA and len(parts) > 1:
                stem = parts[1].removesuffix(".lance")
                self._bytes[stem] = self._bytes.get(stem, 0) + file.num_bytes

    def of(self, fragment: lance.FragmentMetadata) -> int:
        """Bytes of a fragment, its removed rows included."""
        return sum(self._bytes.get(stem_of(file), 0) for file in fragment.files)


def stem_of(file: lance.fragment.DataFile) -> str:
    """What the names of a data file and of the folder beside it begin with."""
    return file.path.removesuffix(".lance")
