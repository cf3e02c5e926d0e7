"""Scorers of one's own: does something lie over the lower right corner, and where does an image lie among others?"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets import Resources, ScoreColumn, Scorer, Values, grey, scorer


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


class Looks(Scorer):
    """A vector by which like images are found, from a small network with random weights (put your model there)."""

    revision = "1"
    columns = {"looks": ScoreColumn(pa.list_(pa.float32(), 16), "Direction of the image, of length 1.")}  # noqa: RUF012
    batch_size = 32
    resources = Resources(cpus=1)  # Resources(gpus=1), or a part of one, for a model on a GPU

    def open(self, device: str) -> None:
        """Load the model."""
        import torch  # here, for Dagster imports this file too

        torch.manual_seed(0)
        layers = torch.nn.Conv2d(3, 16, 8, stride=8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        self.device, self.model = device, torch.nn.Sequential(*layers).to(device).eval()

    def __call__(self, images: Sequence[Image.Image]) -> list[Values]:
        """The vectors of a batch."""
        import torch

        pixels = np.stack([np.asarray(image.resize((64, 64)), dtype=np.float32) / 255 for image in images])
        with torch.inference_mode():
            vectors = self.model(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device))
            vectors = torch.nn.functional.normalize(vectors).cpu()
        return [{"looks": vector} for vector in vectors]
