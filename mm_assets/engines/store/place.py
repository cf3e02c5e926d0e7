"""The one seam to the places of files: a folder, or everything below a prefix of a bucket.

Paths are relative to the place, with `/` between their parts. `opening.place_at` gives the place of a uri; nothing else
tells folder and bucket apart.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol

import pyarrow.fs

from mm_assets.engines.store.upload import Checksum


@dataclass(frozen=True)
class File:
    """Bytes of a file, and when it was written (seconds since 1970, by the clock of the store)."""

    num_bytes: int
    written: float


class Place(Protocol):
    """A folder or the objects below a prefix; small, and travels to every worker."""

    @property
    def uri(self) -> str:
        """The folder's path or the prefix's uri, without a slash at its end."""

    def short_name(self) -> str:
        """The uri for a person at a terminal: a folder's path is relative to the working directory."""

    def below(self, path: str) -> "Place":
        """The place of everything below a path."""

    def create(self) -> None:
        """Make the folder where it is missing; a bucket has no folders."""

    def is_missing(self) -> bool:
        """Whether the folder is missing. Always False for a bucket, because no request is made."""

    # --- reading

    def files(self) -> Iterator[tuple[str, File]]:
        """Path, size and age of every file; a file that is removed meanwhile is left out."""

    def folders(self) -> Iterator[tuple[str, float]]:
        """Name and time of change of each folder directly here, also of an empty one; a bucket has none."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where it is missing."""

    def open(self, path: str) -> BufferedIOBase:
        """Open a file to read it from beginning to end.

        Raises:
            FileNotFoundError: it is missing.
        """

    def fetch(self, path: str, file: Path) -> None:
        """Copy a file to a path of this machine, whose folder exists.

        Raises:
            FileNotFoundError: it is missing.
        """

    def local(self, path: str, copy: Callable[[], Path]) -> Path:
        """The path of a file or folder on this machine: the original, or a copy.

        Args:
            path: of the file or folder.
            copy: makes a copy on this machine and gives its path; called only for a bucket.
        """

    # --- writing

    def building(self, name: str) -> AbstractContextManager[Path]:
        """A folder on this machine to build something in, removed afterwards.

        A folder makes it inside itself, on the disk of the result. A bucket makes a temporary one.

        Args:
            name: of the folder.
        """

    def put(self, file: Path, path: str, sha256: str, checksum: Checksum, log: Callable[[str], None]) -> None:
        """Put a large file here that was made in `building`; a folder takes it by a rename.

        Args:
            file: the file.
            path: its path in the place.
            sha256: of the file, in hex.
            checksum: by which a bucket checks each part; see `upload`.
            log: told about progress by a bucket.

        Raises:
            RefusalError: the bucket refuses it; the next try goes on after the parts that were sent.
        """

    def put_folder(self, folder: Path, path: str) -> None:
        """Put a folder here that was made in `building`; a folder takes it whole, by a rename.

        A path always names the same files. So existing files stay, and a folder that lost some is replaced.
        """

    def shared(self, name: str) -> AbstractContextManager[tuple[str, pyarrow.fs.FileSystem | None]]:
        """A folder that is visible wherever the place is visible; removed afterwards.

        Args:
            name: of the folder.

        Yields:
            Path and file system, as Ray Train takes them (None: the path is a local one).
        """

    # --- removing

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files; a missing file is no error."""

    def remove_folder(self, name: str) -> None:
        """Remove everything under a name; files that cannot be removed stay."""

    def remove_empty_folders(self, older_than: float) -> None:
        """Remove the empty folders directly here that were changed before a moment (seconds since 1970)."""

    def abort_uploads(self, older_than: float) -> int | None:
        """Abort unfinished uploads that began before a moment: a bucket keeps their parts, and bills them.

        Returns:
            How many were aborted; None where the store does not list them.
        """

    # --- what Lance is told

    def storage_options(self) -> dict[str, str] | None:
        """Lance's options for the store; None for a folder."""

    def require_atomic_puts(self) -> None:
        """Refuse a store on which two writers could lose each other's commits.

        Raises:
            RefusalError: see `probe.require_atomic_puts`; never of a folder.
        """
