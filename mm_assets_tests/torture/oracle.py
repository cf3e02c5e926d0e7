"""What every table must hold, and what a stage may compute, by plain dictionaries; knows nothing of Lance.

A step that was cut off has done a part of its work: `settle` takes over, key by key, what is there of it, and says what
is neither as it was before nor as it should become.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

State = TypeVar("State")


@dataclass(frozen=True)
class Cell:
    """What one scorer made of an image."""

    revision: str
    value: int | None
    error: str | None


@dataclass(frozen=True)
class Image:
    """A row of `images.lance`; `reason` is why it was rejected."""

    etag: str
    sha256: str | None
    reason: str | None
    cells: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """An object of the source; `pixels` is None where it is no image."""

    etag: str
    data: bytes
    pixels: bytes | None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


# What one stage has to do: how its table looks afterwards, and how often what is asked for.
Work = tuple[dict[Any, State], Counter[Any]]


@dataclass
class Oracle:
    """The lake as it must be."""

    source: dict[str, File] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    predictions: dict[tuple[str, str | None], str] = field(default_factory=dict)
    pixels: dict[str, bytes] = field(default_factory=dict)  # of every picture that ever was, by sha256

    def put(self, name: str, file: File) -> None:
        """The source changed."""
        self.source[name] = file
        if file.pixels is not None:
            self.pixels[file.sha256] = file.pixels

    def listing(self) -> dict[str, str]:
        """`objects.lance` after a listing."""
        return {name: file.etag for name, file in self.source.items()}

    def ingest(self, listed: Mapping[str, str], *, retry: bool) -> Work[Image]:
        """`images.lance` after an ingest of a listing, and the objects that it reads."""
        read = [
            name
            for name, etag in listed.items()
            if name not in self.images
            or self.images[name].etag != etag
            or (retry and self.images[name].reason is not None)
        ]
        kept = {name: row for name, row in self.images.items() if name in listed}
        return {**kept, **{name: self._ingested(name, listed[name]) for name in read}}, Counter(read)

    def _ingested(self, name: str, etag: str) -> Image:
        file, before = self.source.get(name), self.images.get(name)
        if file is None:
            return Image(etag, None, "unreadable")
        if file.pixels is None:
            return Image(etag, file.sha256, "corrupt")
        if before is not None and before.reason is None and before.sha256 == file.sha256:
            return replace(before, etag=etag)
        return Image(etag, file.sha256, None)

    def score(
        self,
        names: Iterable[str],
        revisions: Mapping[str, str],
        function: Callable[[str, str, bytes], Cell],
        *,
        retry: bool,
    ) -> Work[Image]:
        """`images.lance` after a pass of scoring over these images, and how often each scorer sees which bytes."""
        after, seen = dict(self.images), Counter[Any]()
        for name in names:
            row = self.images.get(name)
            if row is None or row.reason is not None or row.sha256 is None:
                continue
            cells = dict(row.cells)
            for scorer, revision in revisions.items():
                cell = cells.get(scorer)
                if cell is None or cell.revision != revision or (retry and cell.error is not None):
                    cells[scorer] = function(scorer, revision, self.pixels[row.sha256])
                    seen[scorer, self.pixels[row.sha256]] += 1
            after[name] = replace(row, cells=cells)
        return after, seen

    def predict(
        self, rows: Mapping[str, Image], answer: Callable[[bytes], str], *, retry: bool
    ) -> tuple[dict[tuple[str, str | None], str], Counter[Any]]:
        """`predictions.lance` after a pass over these rows, and how often which bytes are answered."""
        after, asked = dict(self.predictions), Counter[Any]()
        for name, row in rows.items():
            key = (name, row.sha256)
            if row.reason is not None or row.sha256 is None:
                after.setdefault(key, "no image")
            elif key not in after or (retry and after[key] == "error"):
                after[key] = answer(self.pixels[row.sha256])
                asked[self.pixels[row.sha256]] += 1
        return after, asked


def settle(before: Mapping[Any, State], after: Mapping[Any, State], found: Mapping[Any, State]) -> list[str]:
    """Keys of a table that is neither as it was nor as it should become, where the step was cut off in between."""
    return [
        f"{key} is {found.get(key)}: not {before.get(key)}, nor {after.get(key)}"
        for key in {**before, **after, **found}
        if found.get(key) not in (before.get(key), after.get(key))
    ]
