"""What the rivals compute: the columns of one score, from a batch of rows to a batch of cells."""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from bench.lab.pictures import number_of
from mm_assets.stages.score.builtin.sharpness import sharpness

REAL = sharpness
# As this project names them: the value, the revision that computed it, and what went wrong.
FIELDS = pa.schema(
    [
        pa.field("sharpness", pa.float32()),
        pa.field("sharpness_rev", pa.string()),
        pa.field("sharpness_error", pa.string()),
    ]
)


@dataclass(frozen=True)
class Scorer:
    """A score by the number of the row (storage only), or by the picture; called with a table that has `reads`."""

    revision: str
    real: bool = False

    @property
    def reads(self) -> str:
        """The column that it takes; an id has the row's number in it."""
        return "image" if self.real else "image_id"

    def __call__(self, rows: pa.Table | pa.RecordBatch) -> pa.Table:
        """Cells of these rows, in their order."""
        column = rows.column(rows.schema.get_field_index(self.reads)).to_pylist()
        if self.real:
            return self._cells([score_of(data) for data in column])
        return self.of(np.array([number_of(name) for name in column], dtype=np.uint64))

    def of(self, numbers: np.ndarray) -> pa.Table:
        """Cells of rows by their numbers."""
        seed = np.uint64(zlib.crc32(self.revision.encode()))
        mixed = (numbers * np.uint64(2_654_435_761) + seed) % np.uint64(2**32)
        return self._cells((mixed / 2**32).astype(np.float32))

    def _cells(self, values: Sequence[float] | np.ndarray) -> pa.Table:
        count = len(values)
        arrays = [pa.array(values, pa.float32()), pa.array([self.revision] * count), pa.nulls(count, pa.string())]
        return pa.table(arrays, schema=FIELDS)


def score_of(data: bytes) -> float:
    """The sharpness of a photo."""
    with Image.open(io.BytesIO(data)) as image:
        value = REAL.function(image.convert("RGB"))["sharpness"]
    assert value is not None
    return float(np.float32(value))
