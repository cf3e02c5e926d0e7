"""Each scorer against values that can be known."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mm_assets.demo.pictures import draw_area
from mm_assets.settings import ScoreSettings
from mm_assets.stages.score.builtin.entropy import entropy
from mm_assets.stages.score.builtin.exposure import exposure
from mm_assets.stages.score.builtin.phash import phash
from mm_assets.stages.score.builtin.sharpness import sharpness
from mm_assets.stages.score.registry import all_scorers


def flat(value: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def test_the_four_scorers_are_registered() -> None:
    assert sorted(all_scorers(ScoreSettings())) == ["entropy", "exposure", "phash", "sharpness"]


def test_sharpness_of_one_white_pixel() -> None:
    values = np.zeros((5, 5), np.uint8)
    values[2, 2] = 255
    # The nine inner pixels: -4 x 255 in the middle, 255 beside it, 0 in the corners.
    laplacian = np.array([-4 * 255.0] + [255.0] * 4 + [0.0] * 4)
    assert sharpness.function(Image.fromarray(values))["sharpness"] == pytest.approx(laplacian.var())


def test_sharpness_falls_with_blur() -> None:
    picture = draw_area("pool", np.random.default_rng(0))
    soft = picture.filter(ImageFilter.GaussianBlur(5))
    sharp, blurred = (sharpness.function(image)["sharpness"] for image in (picture, soft))
    assert sharp is not None
    assert blurred is not None
    assert blurred < sharp / 100


def test_an_image_without_inner_pixels_has_no_sharpness() -> None:
    assert sharpness.function(flat(9, (2, 50))) == {"sharpness": None}


def test_exposure_of_known_pixels() -> None:
    values = np.array([[0, 255], [100, 145]], np.uint8)
    assert exposure.function(Image.fromarray(values)) == {"luminance": 125.0, "clipped": 0.5}


def test_entropy_of_known_histograms() -> None:
    assert entropy.function(flat(7)) == {"entropy": 0.0}
    four = np.repeat(np.array([0, 50, 100, 150], np.uint8), 16).reshape(8, 8)
    assert entropy.function(Image.fromarray(four))["entropy"] == pytest.approx(2.0)


def distance(a: Image.Image, b: Image.Image) -> int:
    return int(int(phash.function(a)["phash"] or 0) ^ int(phash.function(b)["phash"] or 0)).bit_count()


def test_phash_survives_scaling_and_tells_pictures_apart() -> None:
    rng = np.random.default_rng(1)
    pool, gym = draw_area("pool", rng), draw_area("gym", rng)
    assert distance(pool, pool.resize((200, 200))) <= 2
    assert distance(pool, gym) > 10


def test_phash_fits_64_bits() -> None:
    value = phash.function(draw_area("lobby", np.random.default_rng(2)))["phash"]
    assert isinstance(value, int)
    assert 0 <= value < 2**64
    assert value.bit_count() == 32  # half of the frequencies are above the median
