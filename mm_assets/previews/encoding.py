"""Encodes pictures as data URIs with a limited length, because Dagster's event log stores them."""

import base64
import io
from collections.abc import Callable, Iterator
from functools import cache

from PIL import Image

# (share of the full size, quality), from the best to one that always fits. A large rough picture shows more than a
# small fine one.
_PHOTO_STEPS = (
    *((1.0, quality) for quality in (80, 65, 50, 38, 28)),
    *((0.85, quality) for quality in (32, 24)),
    *((0.7, quality) for quality in (26, 18)),
    *((0.55, quality) for quality in (20, 10)),
    *((0.4, quality) for quality in (10, 1)),
)
# (share of the full size, colours). Size goes last: small words are hard to read, and blurred edges take more bytes.
_PLOT_STEPS = ((1.0, 48), (1.0, 24), (1.0, 12), (1.0, 6), (0.5, 6), (0.25, 4))


def photos(draw: Callable[[float], Image.Image], max_chars: int) -> str:
    """A sheet of photos as a data URI.

    Args:
        draw: draws the sheet with its photos at a share of their full size; the text keeps its size.
        max_chars: greatest length of the URI.
    """
    draw_once = cache(draw)
    uris = (_webp(draw_once(scale), quality=quality, method=5) for scale, quality in _PHOTO_STEPS)
    return _first_that_fits(uris, max_chars)


def plot(image: Image.Image, max_chars: int) -> str:
    """A plot or a sheet of words as a data URI: few colours, without loss, smaller than a PNG."""
    return _first_that_fits(
        (_webp(_plain(image, *step), lossless=True, quality=100) for step in _PLOT_STEPS), max_chars
    )


def _plain(image: Image.Image, scale: float, colours: int) -> Image.Image:
    size = (round(image.width * scale), round(image.height * scale))
    small = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
    return small.quantize(colours, dither=Image.Dither.NONE).convert("RGB")


def _first_that_fits(uris: Iterator[str], max_chars: int) -> str:
    uri = next(uris)
    while len(uri) > max_chars:
        smaller = next(uris, None)
        if smaller is None:
            break
        uri = smaller
    return uri


def _webp(image: Image.Image, **options: object) -> str:
    stream = io.BytesIO()
    image.save(stream, "webp", **options)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
