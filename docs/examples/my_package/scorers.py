"""A scorer of one's own: does something lie over the lower right corner?"""

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets import Values, grey, scorer


@scorer("1", watermark=pa.float32())
def watermark(image: Image.Image) -> Values:
    """How much more edges the lower right corner has than the whole picture (0 to 1): stock photos are marked there.

    The share of steps of more than 24 grey levels, in the corner of a quarter of each side, less that of the picture.
    Null for an image under 8 x 8 pixels.
    """
    if min(image.size) < 8:
        return {"watermark": None}
    steps = np.abs(np.diff(grey(image), axis=1)) > 24
    height, width = steps.shape
    corner = steps[height * 3 // 4 :, width * 3 // 4 :]
    return {"watermark": float(max(0.0, corner.mean() - steps.mean()))}
