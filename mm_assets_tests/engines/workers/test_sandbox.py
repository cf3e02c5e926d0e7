"""An image that hangs, kills or starves its decoder rejects itself alone."""

import io
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from mm_assets.engines.workers.sandbox import DecodeLimits, DecodeSandbox
from mm_assets.images import ImageError, ImageInfo, decode

LIMITS = DecodeLimits(max_pixels=10**8, timeout_s=1.0, memory_bytes=2**31)


def decode_or_misbehave(data: bytes, max_pixels: int) -> tuple[Any, ImageInfo]:
    """A decoder that some bytes make do what a bad codec does."""
    if data == b"hang":
        while True:
            time.sleep(3600)
    if data == b"segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"starve":
        return bytearray(2**33), ImageInfo("PNG", 1, 1)
    return decode(data, max_pixels)


@pytest.fixture
def sandbox() -> Iterator[DecodeSandbox]:
    with DecodeSandbox(LIMITS, f"{__name__}:decode_or_misbehave") as started:
        yield started


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"), [(b"hang", "timeout"), (b"segfault", "crash"), (b"starve", "too much memory"), (b"", "empty")]
)
def test_a_bad_image_rejects_itself_alone(sandbox: DecodeSandbox, data: bytes, reason: str) -> None:
    assert sandbox.inspect(picture()) == ImageInfo("PNG", 20, 10)
    with pytest.raises(ImageError) as error:
        sandbox.inspect(data)
    assert str(error.value).split(":")[0] == reason
    assert sandbox.inspect(picture()) == ImageInfo("PNG", 20, 10)


def test_a_decoder_that_died_between_two_images_is_started_again(sandbox: DecodeSandbox) -> None:
    sandbox.inspect(picture())
    child = sandbox._child
    assert child is not None
    child.kill()
    child.wait()
    with pytest.raises(ImageError, match="crash"):
        sandbox.inspect(picture())
    assert sandbox.inspect(picture()).width == 20
