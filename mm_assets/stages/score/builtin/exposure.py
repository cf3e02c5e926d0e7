"""How bright an image is, and how much of it is clipped."""

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets.scoring import ScoreColumn, Values, grey, scorer


@scorer(
    "1",
    luminance=ScoreColumn(pa.float32(), "Mean luminance, 0 to 255.", low="dark", high="bright"),
    clipped=ScoreColumn(pa.float32(), "Share of the pixels at 0 or 255, 0 to 1.", high="clipped"),
)
def exposure(image: Image.Image) -> Values:
    """Mean luminance (0 to 255), and the share of pixels that are clipped (at 0 or 255)."""
    g = grey(image)
    return {"luminance": float(g.mean(dtype=np.float64)), "clipped": float(((g <= 0) | (g >= 255)).mean())}
