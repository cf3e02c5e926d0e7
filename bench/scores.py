"""What the rivals compute: the columns of one score, from a batch of rows to a batch of cells."""

import io
import zlib
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets.score.scorers import SCORERS

REAL = SCORERS["sharpness"]
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
    """A score by the id alone (storage only), or by the picture; called with a table that has the column `reads`."""

    revision: str
    real: bool = False

    @property
    def reads(self) -> str:
        """The column that it takes."""
        return "image" if self.real else "image_id"

    def __call__(self, rows: pa.Table | pa.RecordBatch) -> pa.Table:
        """Cells of these rows, in their order."""
        column = rows.column(rows.schema.get_field_index(self.reads))
        values = [self._real(item) for item in column] if self.real else self._by_id(column)
        count = rows.num_rows
        arrays = [pa.array(values, pa.float32()), pa.array([self.revision] * count), pa.nulls(count, pa.string())]
        return pa.table(arrays, schema=FIELDS)

    def _by_id(self, column: pa.ChunkedArray | pa.Array) -> np.ndarray:
        seed = zlib.crc32(self.revision.encode())
        sums = map(partial(_sum, seed), column.to_pylist())
        return np.fromiter(sums, np.float32, len(column)) / np.float32(2**32)

    def _real(self, item: pa.Scalar) -> float:
        return score_of(item.as_py())


def _sum(seed: int, text: str) -> int:
    return zlib.crc32(text.encode(), seed)


def score_of(data: bytes) -> float:
    """The sharpness of a photo."""
    with Image.open(io.BytesIO(data)) as image:
        value = REAL.function(image.convert("RGB"))["sharpness"]
    assert value is not None
    return float(np.float32(value))
