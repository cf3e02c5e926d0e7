"""The files of a table in its lake: their sizes and ages, and their removal."""

from collections.abc import Iterable
from pathlib import PurePosixPath

import lance

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.store.place import File

DATA = "data"


def files_of(tables: Lake, table: str) -> dict[str, File]:
    """All files of a table, by their path below it."""
    return dict(tables.place_of(table).files())


def remove_files(tables: Lake, table: str, paths: Iterable[str]) -> None:
    """Remove files of a table; a missing file is no error."""
    tables.place_of(table).remove(paths)


def remove_empty_folders(tables: Lake, table: str, older_than: float) -> None:
    """Remove the folders for large images that hold no image any more."""
    tables.place_of(table).below(DATA).remove_empty_folders(older_than)


class Weights:
    """Bytes by data file, with its large images: Lance keeps those in files of their own, in a folder beside it."""

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
    """The common beginning of the names of a data file and of the folder beside it."""
    return file.path.removesuffix(".lance")
