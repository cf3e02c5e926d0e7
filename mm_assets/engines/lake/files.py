"""The files of a table as they lie in its lake: what each weighs and how old it is, and their removal."""

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
    """Remove files of a table; one that is missing already is no error."""
    tables.place_of(table).remove(paths)


def remove_empty_folders(tables: Lake, table: str, older_than: float) -> None:
    """Remove the folders of large images that are left without one."""
    tables.place_of(table).below(DATA).remove_empty_folders(older_than)


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
