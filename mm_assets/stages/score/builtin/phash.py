"""A hash that is similar for pictures that look similar."""

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets.scoring import ScoreColumn, Values, scorer


@scorer(
    "1",
    phash=ScoreColumn(pa.uint64(), "Perceptual hash of 64 bits: near-duplicates differ in few bits."),
)
def phash(image: Image.Image) -> Values:
    """Perceptual hash of 64 bits: near-duplicates differ in few bits.

    Each bit says whether one of the 8 x 8 lowest DCT-II frequencies of a 32 x 32 thumbnail is above their median;
    Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010. Bit 63 is the lowest frequency.
    """
    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    rows = np.arange(8)[:, None] * (2 * np.arange(32)[None, :] + 1)
    basis = np.cos(np.pi * rows / 64)
    low = basis @ small @ basis.T
    bits = (low > np.median(low)).ravel()
    return {"phash": int.from_bytes(np.packbits(bits).tobytes(), "big")}
