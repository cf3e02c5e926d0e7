"""Scorers that are models: tiny ones with random weights, which write down when they were opened and what they got."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets import Resources, Scorer, Values

SIZE = 8


class Embedding(Scorer):
    """A vector, a word, a list and a struct of each image, and the label beside it."""

    revision = "1"
    columns = {  # noqa: RUF012  (as a user writes it)
        "embedding": pa.list_(pa.float32(), SIZE),
        "tone": pa.string(),
        "boxes": pa.list_(pa.struct([("box", pa.list_(pa.float32(), 4)), ("name", pa.string())])),
        "size": pa.struct([("width", pa.int32()), ("height", pa.int32())]),
    }
    reads = ("label", "width")
    batch_size = 8
    resources = Resources(cpus=1)

    def __init__(self, log: Path) -> None:
        self.log = log

    def open(self, device: str) -> None:
        import torch

        torch.manual_seed(0)
        self.device, self.model = device, torch.nn.Linear(3, SIZE).to(device).eval()
        self._say(f"open {os.getpid()} {device}")

    def __call__(self, images: Sequence[Image.Image], label: list[str], width: list[int]) -> list[Values]:
        import torch

        self._say(f"batch {len(images)}")
        pixels = np.stack([np.asarray(image.resize((1, 1)), dtype=np.float32)[0, 0] / 255 for image in images])
        with torch.inference_mode():
            vectors = self.model(torch.from_numpy(pixels).to(self.device))
        given = zip(images, vectors, label, width, strict=True)
        return [self._values(image, vector, named, across) for image, vector, named, across in given]

    def _values(self, image: Image.Image, vector: Any, label: str, width: int) -> Values:
        return {
            "embedding": vector,
            "tone": f"{label}, {width} across",
            "boxes": None if label == "gym" else [{"box": [0, 0, *image.size], "name": label}],
            "size": {"width": image.width, "height": image.height},
        }

    def _say(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{line}\n")


def said(log: Path) -> list[list[str]]:
    """What was written down, in words."""
    return [line.split() for line in log.read_text().splitlines()]
