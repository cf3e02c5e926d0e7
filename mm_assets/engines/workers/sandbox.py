"""Decode in a child process with limits: an image that hangs or kills its decoder rejects itself alone."""

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
# The pages of one image serve the next: glibc gives them back to the kernel otherwise, which clears them anew, and the
# child spends half of its time there (mallopt(3)). Bytes; more than that in one block is given back all the same.
KEEP = {"MALLOC_TRIM_THRESHOLD_": str(128 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}


@dataclass(frozen=True)
class DecodeLimits:
    """Pixels, seconds and bytes of address space that the decoding of one image may take."""

    max_pixels: int
    timeout_s: float
    memory_bytes: int


class DecodeSandbox:
    """A child process that decodes one image at a time; it is started again after an image killed it.

    The child sets an alarm around each image and does not catch it, so the kernel ends a decoder that hangs, in C
    code too, and also when this process has died meanwhile.

    Args:
        limits: of one image.
        function: `module:name` of what runs in the child, `(bytes, max_pixels) -> (anything, ImageInfo)`.
    """

    def __init__(self, limits: DecodeLimits, function: str = "mm_assets.images:decode") -> None:
        self._limits, self._function = limits, function
        self._child: subprocess.Popen[bytes] | None = None

    def inspect(self, data: bytes) -> ImageInfo:
        """Decode all of an image and throw the pixels away.

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
    Image.init()  # Pillow's plugins are imported now, not in the time of the first image
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
