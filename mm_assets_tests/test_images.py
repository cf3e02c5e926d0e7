"""Decoding: formats, colour modes, orientation, limits, and files that are no images."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm_assets.images import ImageError, decode

LIMIT = 1_000_000


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def gradient() -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, 40), np.linspace(0, 255, 30))
    return Image.fromarray(np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_decoded_to_rgb(kind: str) -> None:
    image, info = decode(encoded(gradient(), kind), LIMIT)
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert (info.format, info.width, info.height) == (kind, 40, 30)
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(gradient(), dtype=int)).mean() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_colour_mode_keeps_its_picture(mode: str) -> None:
    grey = gradient().convert("L").convert("RGB")
    if mode == "1":
        grey = grey.point(lambda value: 255 * (value > 127))
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image, _ = decode(encoded(grey.convert(mode), kind), LIMIT)
    assert image.mode == "RGB"
    assert np.corrcoef(np.asarray(image).ravel(), np.asarray(grey).ravel())[0, 1] > 0.9


def test_transparent_pixels_are_white() -> None:
    image, _ = decode(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"), LIMIT)
    assert np.asarray(image).min() == 255


def test_a_transparent_palette_entry_is_white() -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    image, _ = decode(encoded(palette, "PNG", transparency=0), LIMIT)
    assert np.asarray(image).min() == 255


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    image, _ = decode(encoded(Image.fromarray(values), "PNG"), LIMIT)
    assert np.abs(np.asarray(image)[..., 0].astype(int) - values // 257).max() <= 1


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), 1.0),
        (np.linspace(0, 255, 64, dtype=np.float32), 255.0),
        (np.linspace(0, 9000, 64, dtype=np.float32), 9000.0),
        (np.arange(64, dtype=np.int32) * 4, 255.0),
        (np.arange(64, dtype=np.int32) * 1000, 65535.0),
        (np.full(64, 1, np.uint16), 65535.0),
    ],
)
def test_deep_grey_is_scaled_by_its_white(values: np.ndarray, white: float) -> None:
    image, _ = decode(encoded(Image.fromarray(values.reshape(8, 8)), "TIFF"), LIMIT)
    assert np.abs(np.asarray(image)[..., 0].ravel() - values * (255.0 / white)).max() <= 1


def test_a_transparent_colour_of_an_rgb_png_is_white() -> None:
    image, _ = decode(encoded(Image.new("RGB", (4, 4), (9, 9, 9)), "PNG", transparency=(9, 9, 9)), LIMIT)
    assert np.asarray(image).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(), "JPEG", exif=exif)
    image, info = decode(data, LIMIT)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert image.size == expected.size == (info.width, info.height)
    assert np.array_equal(np.asarray(image), np.asarray(expected.convert("RGB")))


def test_a_broken_exif_block_does_not_reject_the_picture() -> None:
    data = encoded(gradient(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode(data, LIMIT)[0].size == (40, 30)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, LIMIT)[0].getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some words", "not an image"),
        (b"\x89PNG\r\n\x1a\n and no more", "corrupt"),
        (encoded(gradient(), "JPEG")[:-200], "corrupt"),
        (encoded(gradient(), "PCX"), "unsupported format"),
        (encoded(Image.new("L", (1001, 1000)), "PNG"), "too many pixels"),
    ],
)
def test_what_cannot_be_used_has_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as error:
        decode(data, LIMIT)
    assert str(error.value).split(":")[0] == reason


def test_every_malformed_file_is_refused_with_a_stable_reason(test_data: Path) -> None:
    files = sorted((test_data / "malformed").iterdir())
    assert len(files) > 50
    for path in files:
        reasons = set()
        for _ in range(2):
            with pytest.raises(ImageError) as error:
                decode(path.read_bytes(), 100_000_000)
            reasons.add(str(error.value))
        (reason,) = reasons
        assert " at 0x" not in reason
