"""In place of decoder, scorers, answers and source: they count, and fail where they are told."""

import dataclasses
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from PIL import Image as Picture

from mm_assets.engines.answering.questions import Answer, Part
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.engines.workers.sandbox import DecodeLimits
from mm_assets.images import ImageInfo, decode
from mm_assets.scoring import FunctionScorer, Values
from mm_assets_tests.torture.workers import Checksums, crc


class InPlace:
    """In place of the decoder's process."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._max_pixels = limits.max_pixels

    def inspect(self, data: bytes) -> ImageInfo:
        return decode(data, self._max_pixels)[1]


@dataclass
class Calls:
    """What was read, scored and answered since it was last asked for, and which pictures fail."""

    seen: Counter[Any] = field(default_factory=Counter)
    sick: set[bytes] = field(default_factory=set)

    def taken(self) -> Counter[Any]:
        """What there was; counts from here anew."""
        seen, self.seen = self.seen, Counter()
        return seen


def pixels_of(data: bytes) -> bytes:
    """The pixels of a file."""
    return Picture.open(io.BytesIO(data)).convert("RGB").tobytes()


def value_of(name: str, revision: str, pixels: bytes) -> int:
    return crc(pixels, f"{name} {revision}")


def scoring(calls: Calls, name: str, revision: str) -> FunctionScorer:
    def function(image: Picture.Image) -> Values:
        pixels = image.tobytes()
        calls.seen[name, pixels] += 1
        if name == "luck" and pixels in calls.sick:
            raise ValueError("sick")
        return {name: value_of(name, revision, pixels)}

    return FunctionScorer(name, revision, {name: pa.int64()}, function, "")


def answering(calls: Calls) -> type[Checksums]:
    class Counted(Checksums):
        def __call__(self, rows: pa.Table) -> Part:
            stored = [pixels_of(data) for data in self._images.stored(rows)]
            calls.seen.update(stored)
            part = super().__call__(rows)
            answers = [
                Answer(answer.image_id, error="ValueError: sick") if pixels in calls.sick else answer
                for answer, pixels in zip(part.answers, stored, strict=True)
            ]
            return dataclasses.replace(part, answers=answers)

    return Counted


def counting(calls: Calls, folder: str) -> FolderSource:
    class Counted(FolderSource):
        def read(self, source_uri: str, max_bytes: int) -> bytes:
            calls.seen[source_uri] += 1
            return super().read(source_uri, max_bytes)

    return Counted(folder)
