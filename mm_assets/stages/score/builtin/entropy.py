"""How much is to be seen in an image."""

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets.scoring import ScoreColumn, Values, scorer


@scorer(
    "1",
    entropy=ScoreColumn(pa.float32(), "Shannon entropy of the grey histogram, 0 to 8 bits.", low="little to see"),
)
def entropy(image: Image.Image) -> Values:
    """Shannon entropy of the 256-bin grey histogram, in bits (0 to 8): low means that there is little to see."""
    counts = np.asarray(image.convert("L").histogram(), dtype=np.float64)
    shares = counts[counts > 0] / counts.sum()
    return {"entropy": float(-(shares * np.log2(shares)).sum()) + 0.0}
