"""What a scorer is: import it from the package itself (`from mm_assets import Scorer, scorer`).

A scorer has two forms, and the second is turned into the first:

* a class for a model: `open(device)` once in each worker, then a call for each batch of images;
* `@scorer` on a function of one image.

docs/own_scorer.md has a whole example of each. Raise the revision when the values change. The scorer's own columns are
then computed again for all rows, and nothing else is touched.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mm_assets.catalog import SCORES
from mm_assets.settings import Resources

# The values of one image, by column. None is allowed: the image has no value.
Values = dict[str, Any]

# Columns of the image table that a scorer may read: all that ingest writes, except the bytes and the error.
READABLE = ("image_id", "source_uri", "sha256", "format", "width", "height", "num_bytes", "label", "caption")


@dataclass(frozen=True)
class ScoreColumn:
    """A column that a scorer fills.

    Args:
        type: any Arrow type: a number, a string, a vector (`pa.list_(pa.float32(), 512)`), a list, a struct.
        sentence: what it holds, for the UI.
        low: reason to leave out an image whose value is below the `min` of `curate.limits`.
        high: reason to leave out an image whose value is above the `max` of `curate.limits`.
    """

    type: pa.DataType
    sentence: str | None = None
    low: str = "limit"
    high: str = "limit"


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Scorer:
    """Computes columns of the image table from images.

    A subclass is one scorer; its docstring is the asset's description in the UI. Each worker gets a copy of the
    instance, calls `open` once, and then calls the copy for each batch.

    Attributes:
        name: name of the scorer; its asset is `scores/<name>`. Where it is not set: the class's name in snake case.
        revision: text that is raised when the values change.
        columns: the Arrow type or the `ScoreColumn` of each column, by name.
        reads: columns of `READABLE` that a call gets beside the images. A cell is computed again when they change.
        batch_size: greatest number of images of one call; there are fewer where a batch would hold too many pixels.
        resources: what one worker takes of the cluster; `score.resources` in the profile overrides it.
        description: text for the UI.
    """

    name: str
    revision: str
    columns: Mapping[str, pa.DataType | ScoreColumn]
    reads: tuple[str, ...] = ()
    batch_size: int = 1
    resources: Resources = Resources()
    description: str

    # Called as `scorer(images, **columns)`: each column in `reads` is a keyword with one value for each image. Returns
    # one mapping of values for each image, in the same order. The images are RGB copies: the scorer may change them.
    __call__: Callable[..., Sequence[Values]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = _snake_case(cls.__name__)
        if "description" not in vars(cls):
            cls.description = cls.__doc__ or ""

    def open(self, device: str) -> None:
        """Load what the calls need, once in each worker; `device` is "cuda" where the worker has a GPU, else "cpu"."""

    @property
    def asset(self) -> str:
        """Key of the scorer's asset."""
        return SCORES.member(self.name)

    @property
    def rev_column(self) -> str:
        """Name of the column with the revision that computed each cell; null means not computed."""
        return f"{self.name}_rev"

    @property
    def error_column(self) -> str:
        """Name of the column with the error of each cell that could not be computed."""
        return f"{self.name}_error"

    @property
    def read_column(self) -> str:
        """Name of the column with the digest of the values of `reads` behind each cell; none exists without `reads`."""
        return f"{self.name}_read"

    @cached_property
    def value_columns(self) -> dict[str, ScoreColumn]:
        """The columns of the values, by name."""
        items = self.columns.items()
        return {name: one if isinstance(one, ScoreColumn) else ScoreColumn(one) for name, one in items}

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """Arrow types of the values, by column."""
        return {name: column.type for name, column in self.value_columns.items()}

    def fields(self) -> list[pa.Field]:
        """All columns that the scorer adds to `images.lance`."""
        states = [self.rev_column, self.error_column, *([self.read_column] if self.reads else [])]
        values = [pa.field(name, kind) for name, kind in self.types.items()]
        return [*values, *(pa.field(name, pa.string()) for name in states)]


class FunctionScorer(Scorer):
    """A scorer that calls a function with one image at a time."""

    def __init__(
        self,
        name: str,
        revision: str,
        columns: Mapping[str, pa.DataType | ScoreColumn],
        function: Callable[[Image.Image], Values],
        description: str = "",
    ) -> None:
        self.name, self.revision, self.columns, self.function = name, revision, columns, function
        self.description = description

    def __call__(self, images: Sequence[Image.Image]) -> list[Values]:
        """Values of each image."""
        return [self.function(image) for image in images]


def scorer(
    revision: str, **columns: pa.DataType | ScoreColumn
) -> Callable[[Callable[[Image.Image], Values]], FunctionScorer]:
    """Make a scorer of a function of one image.

    The function's name becomes the scorer's, and its docstring the asset's description in the UI.
    """

    if not isinstance(revision, str):
        raise TypeError(f'the revision of a scorer is text, such as "{revision}"')

    def decorate(function: Callable[[Image.Image], Values]) -> FunctionScorer:
        return FunctionScorer(function.__name__, revision, columns, function, function.__doc__ or "")

    return decorate


def grey(image: Image.Image) -> np.ndarray:
    """Luminance (ITU-R 601), shape (height, width), 0 to 255, as float32."""
    return np.asarray(image.convert("L"), dtype=np.float32)
