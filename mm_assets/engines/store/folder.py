"""A folder as a place of files."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from mm_assets.engines.store.place import File
from mm_assets.engines.store.upload import Checksum


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or one that is mounted here. See `Place` for what each method promises."""

    uri: str

    def short_name(self) -> str:
        """See `Place`."""
        return os.path.relpath(self.uri)

    def below(self, path: str) -> "Folder":
        """See `Place`."""
        return Folder(str(self._at(path)))

    def create(self) -> None:
        """See `Place`."""
        Path(self.uri).mkdir(parents=True, exist_ok=True)

    def is_missing(self) -> bool:
        """See `Place`."""
        return not Path(self.uri).is_dir()

    def files(self) -> Iterator[tuple[str, File]]:
        """See `Place`; links are not followed."""
        return _files(self.uri, "")

    def folders(self) -> Iterator[tuple[str, float]]:
        """See `Place`."""
        if not self.is_missing():
            for path in Path(self.uri).iterdir():
                if path.is_dir():
                    yield path.name, path.stat().st_mtime

    def size(self, path: str) -> int | None:
        """See `Place`."""
        file = self._at(path)
        return file.stat().st_size if file.is_file() else None

    def open(self, path: str) -> BufferedReader:
        """See `Place`."""
        return self._at(path).open("rb")

    def fetch(self, path: str, file: Path) -> None:
        """See `Place`."""
        shutil.copyfile(self._at(path), file)

    def local(self, path: str, copy: Callable[[], Path]) -> Path:
        """See `Place`."""
        return self._at(path)

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """See `Place`."""
        folder = self._at(name)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, file: Path, path: str, sha256: str, checksum: Checksum, log: Callable[[str], None]) -> None:
        """See `Place`; a rename needs no checksum."""
        self._at(path).parent.mkdir(parents=True, exist_ok=True)
        file.replace(self._at(path))

    def put_folder(self, folder: Path, path: str) -> None:
        """See `Place`."""
        place = self._at(path)
        if _sizes(place) != _sizes(folder):
            shutil.rmtree(place, ignore_errors=True)  # a folder that lost files
        place.parent.mkdir(parents=True, exist_ok=True)
        move_folder(folder, place)

    @contextmanager
    def shared(self, name: str) -> Iterator[tuple[str, None]]:
        """See `Place`."""
        with self.building(name) as folder:
            yield str(folder), None

    def remove(self, paths: Iterable[str]) -> None:
        """See `Place`."""
        for path in paths:
            self._at(path).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """See `Place`."""
        shutil.rmtree(self._at(name), ignore_errors=True)

    def remove_empty_folders(self, older_than: float) -> None:
        """See `Place`."""
        for name, changed in list(self.folders()):
            if changed < older_than and not any(self._at(name).iterdir()):
                try:
                    self._at(name).rmdir()
                except OSError:  # another process put a file in meanwhile
                    continue

    def abort_uploads(self, older_than: float) -> int:
        """See `Place`."""
        return 0

    def storage_options(self) -> None:
        """See `Place`."""

    def require_atomic_puts(self) -> None:
        """See `Place`; a file system renames atomically."""

    def _at(self, path: str) -> Path:
        return Path(self.uri, path)


def _files(folder: str, name: str) -> Iterator[tuple[str, File]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{name}{entry.name}/")
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield f"{name}{entry.name}", File(status.st_size, status.st_mtime)


def _sizes(folder: Path) -> dict[str, int]:
    return {path: file.num_bytes for path, file in _files(str(folder), "")}


def move_folder(folder: Path, place: Path) -> None:
    """Rename a folder to its place, unless another process put the same files there before."""
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise
