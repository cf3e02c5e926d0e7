"""Decoding in a child process with limits: an image that hangs or kills its decoder fails alone."""

import json
import os
import resource
import signal
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, BinaryIO, Self

from PIL import Image

from mm_assets.images import ImageError, ImageInfo

_LENGTH = struct.Struct("<Q")
# The next image reuses the memory pages of the last one. By default glibc gives them back to the kernel, which clears
# them again: the child would spend half of its time there (mallopt(3)). Bytes; larger blocks are given back anyway.
KEEP = {"MALLOC_TRIM_THRESHOLD_": str(128 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}


@dataclass(frozen=True)
class DecodeLimits:
    """Pixels, seconds and bytes of address space that the decoding of one image may take."""

    max_pixels: int
    timeout_s: float
    memory_bytes: int


class DecodeSandbox:
    """A child process that decodes one image at a time; it is started again after an image killed it.

    The child sets an alarm around each image and does not catch it. So the kernel ends a decoder that hangs, also in C
    code, and also where this process has died meanwhile.

    A worked example. Image 1 is fine, and the child answers its format and size. Image 2 hangs: after `timeout_s` the
    alarm ends the child, and `inspect` raises "timeout". Image 3 starts a new child and is decoded there.

    Args:
        limits: of one image.
        function: `module:name` of the child's function, `(bytes, max_pixels) -> (anything, ImageInfo)`.
    """

    def __init__(self, limits: DecodeLimits, function: str = "mm_assets.images:decode") -> None:
        self._limits, self._function = limits, function
        self._child: subprocess.Popen[bytes] | None = None

    def inspect(self, data: bytes) -> ImageInfo:
        """Decode all of an image and discard the pixels.

        Raises:
            ImageError: the image is unusable, took too long, or killed the decoder.
        """
        child = self._running()
        try:
            _send(child.stdin, data)
            answer = json.loads(_receive(child.stdout))
        except (BrokenPipeError, EOFError):
            raise ImageError(self._epitaph(child)) from None
        if "error" in answer:
            raise ImageError(answer["error"])
        return ImageInfo(**answer)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            limits = json.dumps(asdict(self._limits))
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__, self._function, limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **KEEP},
            )
        return self._child

    def _epitaph(self, child: subprocess.Popen[bytes]) -> str:
        self._child = None
        child.communicate()
        if child.returncode == -signal.SIGALRM:
            return f"timeout: decoding took longer than {self._limits.timeout_s:g} s"
        return f"crash: the decoder ended with status {child.returncode}"


def _send(stream: BinaryIO | Any, data: bytes) -> None:  # noqa: ANN401  (Popen types its pipes as optional)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: BinaryIO | Any) -> bytes:  # noqa: ANN401
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    return stream.read(length)


def _serve(function: str, limits: DecodeLimits) -> None:
    module, name = function.split(":")
    inspect = getattr(import_module(module), name)
    Image.init()  # imports Pillow's plugins now, so that the first image's time limit does not include it
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    while True:
        try:
            data = _receive(sys.stdin.buffer)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, limits.timeout_s)
        answer = _answer(inspect, data, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(sys.stdout.buffer, json.dumps(answer).encode())


def _answer(inspect: Any, data: bytes, limits: DecodeLimits) -> dict[str, Any]:  # noqa: ANN401  (a decode function)
    try:
        _, info = inspect(data, limits.max_pixels)
    except ImageError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": f"too much memory: decoding needs more than {limits.memory_bytes} bytes"}
    return asdict(info)


if __name__ == "__main__":
    _serve(sys.argv[1], DecodeLimits(**json.loads(sys.argv[2])))
