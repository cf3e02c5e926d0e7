"""Images that a manifest lists: uris of files and objects, with the user's own ids, labels and captions."""

import io
import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pyarrow.compute as pc
from botocore.exceptions import ClientError

from mm_assets.engines.sources.folder import read_file, stat_file
from mm_assets.engines.sources.manifest_rows import LINES, ManifestError, rows_of
from mm_assets.engines.sources.s3_objects import read_object, refusal, stat_object
from mm_assets.engines.sources.source import LISTING, REPEATED, UNSUPPORTED, Row, Stat, table_of
from mm_assets.engines.store.errors import STORE_ERRORS, code_of, described
from mm_assets.engines.store.s3 import CONNECTIONS, SCHEME, object_of, object_uri
from mm_assets.images import ImageError
from mm_assets.lineage.errors import RefusalError
from mm_assets.pace import Pace
from mm_assets.settings import S3Settings
from mm_assets.settings.root import MANIFESTS
from mm_assets.settings.section import BUCKET

URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# Objects that are looked up in one batch; progress is logged after a batch.
LOOKED_UP_ROWS = 1000

# A file's path, or bucket and key.
Location = bytes | tuple[str, str]


@dataclass(frozen=True)
class ManifestSource:
    """The objects that `place` lists (a path or an s3 uri that ends in .csv, .jsonl, .ndjson or .parquet).

    Relative uris are paths from the manifest's own folder or prefix.
    """

    place: str
    s3: S3Settings

    @classmethod
    def from_setting(cls, setting: str, s3: S3Settings) -> Self | None:
        """See `Kind`; takes a path or key by its ending, and never a folder."""
        location = object_of(setting)
        name = setting if location is None else location[1]
        return cls(setting, s3) if name.lower().endswith(MANIFESTS) and not Path(setting).is_dir() else None

    def list(self, say: Callable[[str], None]) -> pa.Table:
        """See `Source`; in the order of the manifest. A line that cannot be used is an entry with an error.

        Raises:
            RefusalError: the manifest as a whole, or a store of its objects, cannot be read.
        """
        lines = self._lines()
        ids = _Ids.of(lines)
        return self._looked_up(table_of(self._entry(line, ids) for line in _each(lines)), say)

    def _lines(self) -> pa.Table:
        try:
            with self._open() as stream:
                return table_of(rows_of(stream, posixpath.splitext(self.place)[1].lower()), LINES)
        except STORE_ERRORS as error:
            raise refusal(self.place, self.s3, error) from None
        except (OSError, ImageError, ManifestError) as error:
            raise RefusalError(f"source (MM_SOURCE): the manifest {self.place} cannot be read: {error}") from None

    def _open(self) -> BinaryIO:
        location = object_of(self.place)
        if location is None:
            return Path(self.place).open("rb")
        return io.BytesIO(read_object(self.s3, *location, sys.maxsize))

    def _entry(self, line: Row, ids: "_Ids") -> Row:
        number, uri, error = line["line"], line["uri"], line["error"]
        requested_id = f"line {number}" if error else line["image_id"] or uri
        image_id = ids.claim(requested_id, number)
        if not error and image_id != requested_id:
            error = f"{REPEATED}: {requested_id} is also line {ids.lines[requested_id]}"
        fields = {"label": line["label"], "caption": line["caption"], "error": error or self._unsupported(uri)}
        return {"image_id": image_id, "source_uri": uri, **fields}

    def _unsupported(self, uri: str) -> str | None:
        try:
            self._locate(uri)
        except ImageError as error:
            return str(error)
        return None

    def _looked_up(self, listing: pa.Table, say: Callable[[str], None]) -> pa.Table:
        """The listing with etags and sizes."""
        progress = Pace("objects looked up", listing.num_rows, say)
        batches = []
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for batch in listing.to_batches(max_chunksize=LOOKED_UP_ROWS):
                batches.append(self._with_stats(batch, pool))
                progress.add(batch.num_rows)
        return pa.Table.from_batches(batches, LISTING)

    def _with_stats(self, batch: pa.RecordBatch, pool: Executor) -> pa.RecordBatch:
        pairs = zip(batch["source_uri"].to_pylist(), batch["error"].to_pylist(), strict=True)
        stats = list(pool.map(self._stat, [uri if error is None else None for uri, error in pairs]))
        columns = {"etag": pa.array([etag for etag, _ in stats], pa.string())}
        columns["size"] = pa.array([size for _, size in stats], pa.int64())
        return pa.RecordBatch.from_arrays([columns.get(name, batch[name]) for name in LISTING.names], schema=LISTING)

    def _stat(self, uri: str | None) -> Stat:
        if uri is None:
            return None, None
        location = self._locate(uri)
        if isinstance(location, bytes):
            return stat_file(location)
        try:
            return stat_object(self.s3, *location)
        except STORE_ERRORS as error:
            raise refusal(f"{object_uri(*location)}, an object of the manifest,", self.s3, error) from None

    def read(self, source_uri: str, max_bytes: int) -> bytes:
        """See `Source`."""
        location = self._locate(source_uri)
        if isinstance(location, bytes):
            return read_file(location, max_bytes)
        try:
            return read_object(self.s3, *location, max_bytes)
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":  # a wrong bucket is the error of this line alone
                raise
            raise ImageError(f"unreadable: {described(error)}") from error

    def _locate(self, uri: str) -> Location:
        """The location of a uri's object.

        Raises:
            ImageError: no kind of place that is read has such a uri.
        """
        match = URI.fullmatch(uri)
        location = _absolute(match[1].lower(), match[2]) if match else self._beside(uri)
        if isinstance(location, bytes) and b"\0" in location:
            raise ImageError(f"{UNSUPPORTED}: no path has a null character")
        return location

    def _beside(self, path: str) -> Location:
        """A path relative to the manifest's folder or prefix; an absolute path is always a file."""
        location = object_of(self.place)
        if location is None or path.startswith("/"):
            return os.fsencode(Path(self.place).parent / path)
        bucket, manifest = location
        key = posixpath.join(posixpath.dirname(manifest), path)
        # A store knows no `.` and `..`, but a manifest that was copied there with its folder may have them.
        dotted = {".", ".."} & set(key.split("/"))
        return bucket, posixpath.normpath(f"/{key}")[1:] if dotted else key


def _absolute(scheme: str, rest: str) -> Location:
    host, slash, path = rest.partition("/")
    if scheme == SCHEME:
        if not BUCKET.fullmatch(host) or not path:
            raise ImageError(f"{UNSUPPORTED}: an s3 uri is s3://bucket/key")
        return host, path
    if scheme == "file":
        if host not in ("", "localhost"):
            raise ImageError(f"{UNSUPPORTED}: the file is on another machine ({host}): file:///path is read")
        return unquote_to_bytes(slash + path)
    kind = "http(s)" if scheme in ("http", "https") else scheme
    raise ImageError(f"{UNSUPPORTED}: {kind} uris are not read yet: copy the objects into a folder or bucket")


@dataclass
class _Ids:
    """The line of each id: the first line that names an id keeps it."""

    lines: dict[str, int]
    suffixes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: pa.Table) -> "_Ids":
        names: dict[str, int] = {}
        for line in _each(lines.filter(pc.is_null(lines["error"]))):
            names.setdefault(line["image_id"] or line["uri"], line["line"])
        return cls(names)

    def claim(self, requested_id: str, line: int) -> str:
        """The id for a line: `requested_id`, or the next free one of id~2, id~3, ... where another line has it."""
        if self.lines.setdefault(requested_id, line) == line:
            return requested_id
        numbers = count(self.suffixes.get(requested_id, 2))
        number = next(number for number in numbers if f"{requested_id}~{number}" not in self.lines)
        self.suffixes[requested_id] = number + 1
        self.lines[f"{requested_id}~{number}"] = line
        return f"{requested_id}~{number}"


def _each(table: pa.Table) -> Iterator[Row]:
    return (row for batch in table.to_batches() for row in batch.to_pylist())
