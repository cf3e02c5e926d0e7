"""Decoding of images of all formats: pure functions on bytes, shared by all stages."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# The first frame is decoded where a GIF, WebP or TIFF has several.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}

_ROTATIONS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}


class ImageError(ValueError):
    """The bytes are no usable image; the message is `<reason>: <detail>`, with a reason from a small set."""


@dataclass(frozen=True)
class ImageInfo:
    """Format and size of an image; the size is in pixels, after the EXIF rotation."""

    format: str
    width: int
    height: int


def decode(data: bytes, max_pixels: int) -> tuple[Image.Image, ImageInfo]:
    """Decode all of an image to 8-bit RGB, upright, alpha over white.

    Args:
        data: the file's bytes.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        The image, and its format and size.

    Raises:
        ImageError: with the reason (empty, not an image, unsupported format, too many pixels, corrupt).
        MemoryError: the process may not take so much memory.
    """
    if not data:
        raise ImageError("empty: the file has no bytes")
    image = _open(data)
    if image.width * image.height > max_pixels:
        raise ImageError(f"too many pixels: {image.width} x {image.height}, the limit is {max_pixels}")
    kind = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a phone's JPEG with a second picture
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            upright = _upright(image, _orientation(image))
            rgb = _to_rgb(upright)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"corrupt: {kind}, {_describe(error)}") from error
    return rgb, ImageInfo(kind, rgb.width, rgb.height)


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(_why_unidentified(data)) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels: {error}") from error
    except Exception as error:
        raise ImageError(f"corrupt: {_describe(error)}") from error


def _why_unidentified(data: bytes) -> str:
    for magic, kind in _SIGNATURES.items():
        if data.startswith(magic):
            return f"corrupt: {kind}, the header cannot be read"
    supported = "JPEG, PNG, WebP, GIF, BMP and TIFF are read"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f"unsupported format: {Image.open(io.BytesIO(data)).format} ({supported})"
    except Exception:  # noqa: BLE001  (any failure here means the same: a format that Pillow does not know)
        return f"not an image: no known signature ({supported})"


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# ImageOps.exif_transpose is not used: it also rewrites the EXIF block, and fails where another part of it is broken.
def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  (a broken EXIF block does not make the picture unusable)
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    for method in _ROTATIONS.get(orientation, ()):
        image = image.transpose(method)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        raise ValueError("the Lab colour space is not read")
    return image if image.mode == "RGB" else image.convert("RGB")  # a conversion to the same mode is a copy


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Scale grey values of more than 8 bits to 8 bits.

    16-bit integers are scaled by the range of their type. 32-bit integers and floats have no agreed white: it is the
    first of 1.0 (floats), 255 and 65535 (integers) that no value exceeds. Beyond them it is the greatest value.
    """
    if values.dtype == np.uint16:
        return (values // 257).astype(np.uint8)
    whites = [255.0, 65535.0] if np.issubdtype(values.dtype, np.integer) else [1.0, 255.0]
    values = np.nan_to_num(values.astype(np.float64))
    top = float(values.max(initial=0.0))
    white = next((white for white in whites if top <= white), top)
    return np.clip(values * (255.0 / white), 0, 255).astype(np.uint8)
