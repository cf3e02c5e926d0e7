"""The one seam to where files are kept: a folder, or everything below a prefix of a bucket.

Paths are relative to the place, with `/` between their parts. `opening.place_at` tells which of the two a uri names;
nobody else asks.
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
        """The uri as a person at a terminal wants it: a folder's path from the working directory."""

    def below(self, path: str) -> "Place":
        """The place of what lies under a path."""

    def create(self) -> None:
        """Make the folder where it is missing; a bucket has no folders."""

    def is_missing(self) -> bool:
        """Whether nothing can be here, told without a request: False for every bucket."""

    # --- reading

    def files(self) -> Iterator[tuple[str, File]]:
        """Path, size and age of every file; one that goes away meanwhile is left out."""

    def folders(self) -> Iterator[tuple[str, float]]:
        """Name and time of change of the folders directly here, empty ones too; a bucket has none."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where it is missing."""

    def open(self, path: str) -> BufferedIOBase:
        """A file, to be read from its beginning to its end.

        Raises:
            FileNotFoundError: there is none.
        """

    def fetch(self, path: str, file: Path) -> None:
        """Copy a file to a path of this machine, whose folder is there.

        Raises:
            FileNotFoundError: there is none.
        """

    def local(self, path: str, copy: Callable[[], Path]) -> Path:
        """Where a file or folder lies on this machine.

        Args:
            path: of the file or folder.
            copy: gives a copy of it on this machine; called where the place itself is not on this machine.
        """

    # --- writing

    def building(self, name: str) -> AbstractContextManager[Path]:
        """A folder on this machine to build something in, removed afterwards.

        A folder has it inside, on the disk where the result shall stay; a bucket's is a temporary one.

        Args:
            name: of the folder.
        """

    def put(self, file: Path, path: str, sha256: str, checksum: Checksum, log: Callable[[str], None]) -> None:
        """Put a large file here that was made in `building`; a folder takes it by a rename.

        Args:
            file: the file.
            path: where it shall lie.
            sha256: of the file, in hex.
            checksum: by which a bucket checks what is sent; see `upload`.
            log: where a bucket says how far it is.

        Raises:
            RefusalError: the bucket refuses it; the next try goes on after the parts that were sent.
        """

    def put_folder(self, folder: Path, path: str) -> None:
        """Put a folder here that was made in `building`; a folder takes it by a rename, and whole.

        The same path always names the same files: what is there already stays, and a folder that lost some is
        replaced.
        """

    def shared(self, name: str) -> AbstractContextManager[tuple[str, pyarrow.fs.FileSystem | None]]:
        """A folder that every machine sees which sees the place; removed afterwards.

        Args:
            name: of the folder.

        Yields:
            Path and file system, as Ray Train takes them (None: the path is a local one).
        """

    # --- removing

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files; one that is missing already is no error."""

    def remove_folder(self, name: str) -> None:
        """Remove everything under a name, as far as it can be removed."""

    def remove_empty_folders(self, older_than: float) -> None:
        """Remove the empty folders directly here that were changed before a moment (seconds since 1970)."""

    def abort_uploads(self, older_than: float) -> int | None:
        """Abort uploads in parts that were begun before a moment and never ended: a bucket keeps, and bills, the parts.

        Returns:
            How many there were; None where the store does not tell.
        """

    # --- what Lance is told

    def storage_options(self) -> dict[str, str] | None:
        """The store, as Lance wants to know it; None for a folder."""

    def require_atomic_puts(self) -> None:
        """Refuse a store on which two writers could lose each other's commits.

        Raises:
            RefusalError: see `probe.require_atomic_puts`; never of a folder.
        """
