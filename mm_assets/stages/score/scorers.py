"""The scorers: pure functions from a decoded image to values.

To add one of your own, without touching this file:

1. write a function that takes an RGB `PIL.Image` and returns one value per column;
2. decorate it with `@scorer(revision, column=type, ...)`; its name is the asset's: `scores/<name>`;
3. name it in your profile: `score: {own: ["my_package.scorers:watermark"]}` (docs/own_scorer.md has a whole example).

Raise the revision when the function's values change: its own columns are then computed again, for all rows, and
nothing else is touched. An exception becomes the cell's error; the other rows and scorers go on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

Values = dict[str, float | int | None]


@dataclass(frozen=True, eq=False)
class Scorer:
    """A function on a decoded image, the revision of its values, and the columns that it fills."""

    name: str
    revision: str
    columns: dict[str, pa.DataType]
    function: Callable[[Image.Image], Values]
    description: str

    @property
    def asset(self) -> str:
        """Key of the scorer's asset."""
        return f"scores/{self.name}"

    @property
    def rev_column(self) -> str:
        """Column of the revision that computed a cell; null means not computed."""
        return f"{self.name}_rev"

    @property
    def error_column(self) -> str:
        """Column of the error of a cell that could not be computed."""
        return f"{self.name}_error"

    def fields(self) -> list[pa.Field]:
        """All columns that the scorer adds to `images.lance`."""
        values = [pa.field(name, kind) for name, kind in self.columns.items()]
        return [*values, pa.field(self.rev_column, pa.string()), pa.field(self.error_column, pa.string())]


def scorer(revision: str, **columns: pa.DataType) -> Callable[[Callable[[Image.Image], Values]], Scorer]:
    """Make a scorer of a function: its name is the scorer's, its docstring the asset's description in the UI."""

    if not isinstance(revision, str):
        raise TypeError(f'the revision of a scorer is text, such as "{revision}"')

    def made(function: Callable[[Image.Image], Values]) -> Scorer:
        return Scorer(function.__name__, revision, columns, function, function.__doc__ or "")

    return made


def grey(image: Image.Image) -> np.ndarray:
    """Luminance (ITU-R 601), shape (height, width), 0 to 255, as float32."""
    return np.asarray(image.convert("L"), dtype=np.float32)


@scorer("1", sharpness=pa.float32())
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


@scorer("1", luminance=pa.float32(), clipped=pa.float32())
def exposure(image: Image.Image) -> Values:
    """Mean luminance (0 to 255), and the share of pixels that are clipped (at 0 or 255)."""
    g = grey(image)
    return {"luminance": float(g.mean(dtype=np.float64)), "clipped": float(((g <= 0) | (g >= 255)).mean())}


@scorer("1", entropy=pa.float32())
def entropy(image: Image.Image) -> Values:
    """Shannon entropy of the 256-bin grey histogram, in bits (0 to 8): low means that little is to be seen."""
    counts = np.asarray(image.convert("L").histogram(), dtype=np.float64)
    shares = counts[counts > 0] / counts.sum()
    return {"entropy": float(-(shares * np.log2(shares)).sum()) + 0.0}


@scorer("1", phash=pa.uint64())
def phash(image: Image.Image) -> Values:
    """64-bit perceptual hash: signs of the 8 x 8 lowest DCT-II frequencies of a 32 x 32 thumbnail against their median.

    Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010. Bit 63 is the lowest frequency.
    """
    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    rows = np.arange(8)[:, None] * (2 * np.arange(32)[None, :] + 1)
    basis = np.cos(np.pi * rows / 64)
    low = basis @ small @ basis.T
    bits = (low > np.median(low)).ravel()
    return {"phash": int.from_bytes(np.packbits(bits).tobytes(), "big")}


SCORERS = {built_in.name: built_in for built_in in (sharpness, exposure, entropy, phash)}
