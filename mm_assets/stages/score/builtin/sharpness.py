"""How sharp an image is."""

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets.scoring import ScoreColumn, Values, grey, scorer


@scorer(
    "1",
    sharpness=ScoreColumn(pa.float32(), "Variance of the luminance's Laplacian: low means blurred.", low="blurred"),
)
def sharpness(image: Image.Image) -> Values:
    """Variance of the Laplacian of the luminance (0 to 255): low means blurred.

    4-neighbour kernel on inner pixels; Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
    Null for an image under 3 x 3 pixels, which has no inner pixel.
    """
    g = grey(image)
    if min(g.shape) < 3:
        return {"sharpness": None}
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return {"sharpness": float(laplacian.var(dtype=np.float64))}
