"""Images that questions are asked about, decoded from the lake's bytes; a failure is that row's answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from PIL import Image

from mm_assets.engines.answering.questions import Answer
from mm_assets.images import decode
from mm_assets.settings import PILLOW_MAX_PIXELS


@dataclass(frozen=True)
class Picture:
    """A decoded image, and the id for its answer."""

    image_id: str
    image: Image.Image


def decode_pictures(rows: pa.Table, stored: Sequence[bytes]) -> list[Picture | Answer]:
    """The image of each row, or an answer with its error; an image with several questions is decoded once.

    Args:
        rows: `image_id` and `_rowid`.
        stored: the files' bytes, in the order of the rows.
    """
    by_row: dict[int, Picture | Answer] = {}
    for row_id, image_id, data in zip(rows["_rowid"].to_pylist(), rows["image_id"].to_pylist(), stored, strict=True):
        if row_id not in by_row:
            by_row[row_id] = _decoded(image_id, data)
    return [by_row[row_id] for row_id in rows["_rowid"].to_pylist()]


def _decoded(image_id: str, data: bytes) -> Picture | Answer:
    try:
        return Picture(image_id, decode(data, PILLOW_MAX_PIXELS)[0])
    except Exception as error:  # noqa: BLE001  (Pillow raises what it likes; it becomes the row's error)
        return Answer(image_id, error=f"{type(error).__name__}: {error}")
