"""Draw the pictures of the embedded default: 8 kinds of hotel areas, and on purpose some that must be refused."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 96
PER_CLASS = 190
SEED = 20
# (quality of a JPEG says nothing for the others)
ENCODINGS = ("jpg", "jpg", "jpg", "jpg", "png", "webp", "bmp", "gif", "tiff")

Colour = tuple[int, int, int]


@dataclass
class Canvas:
    """A picture in the making: a background of sky or wall over a floor, and a source of chance."""

    rng: np.random.Generator
    draw: ImageDraw.ImageDraw

    def near(self, *base: int, spread: int = 22) -> Colour:
        """A colour near another one."""
        jitter = self.rng.integers(-spread, spread + 1, size=3)
        r, g, b = (int(np.clip(c + j, 8, 247)) for c, j in zip(base, jitter, strict=True))
        return r, g, b

    def at(self, low: float, high: float) -> int:
        """A coordinate between two shares of the picture's side."""
        return int(self.rng.uniform(low, high) * SIZE)

    def box(self, x: int, y: int, w: int, h: int, fill: Colour) -> None:
        """A filled rectangle."""
        self.draw.rectangle((x, y, x + w, y + h), fill=fill)

    def disc(self, x: int, y: int, r: int, fill: Colour) -> None:
        """A filled circle."""
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def halves(self, top: Colour, bottom: Colour, at: int) -> None:
        """Wall and floor."""
        self.box(0, 0, SIZE, at, top)
        self.box(0, at, SIZE, SIZE - at, bottom)


def _pool(c: Canvas) -> None:
    c.halves(c.near(190, 180, 160), c.near(170, 160, 140), c.at(0.3, 0.45))
    x, y = c.at(0.08, 0.25), c.at(0.4, 0.55)
    c.box(x, y, c.at(0.55, 0.68), c.at(0.3, 0.4), c.near(40, 150, 220))
    for k in range(3):
        c.draw.line((x + 5, y + 8 + 9 * k, x + c.at(0.4, 0.55), y + 6 + 9 * k), fill=c.near(150, 215, 240), width=2)


def _bedroom(c: Canvas) -> None:
    c.halves(c.near(205, 190, 165), c.near(120, 85, 60), c.at(0.5, 0.62))
    x, y = c.at(0.12, 0.25), c.at(0.42, 0.52)
    c.box(x, y, c.at(0.5, 0.6), c.at(0.28, 0.34), c.near(165, 40, 60))
    c.box(x + 4, y - 6, c.at(0.14, 0.18), 14, c.near(238, 238, 235, spread=8))
    c.box(x + c.at(0.24, 0.3), y - 6, c.at(0.14, 0.18), 14, c.near(238, 238, 235, spread=8))


def _bathroom(c: Canvas) -> None:
    c.halves(c.near(150, 200, 200), c.near(90, 120, 125), c.at(0.62, 0.75))
    for k in range(0, SIZE, c.at(0.11, 0.16)):
        c.draw.line((k, 0, k, SIZE), fill=c.near(215, 232, 232, spread=8))
        c.draw.line((0, k, SIZE, k), fill=c.near(215, 232, 232, spread=8))
    x, y, r = c.at(0.35, 0.65), c.at(0.45, 0.6), c.at(0.14, 0.2)
    c.draw.ellipse((x - 2 * r, y - r // 2, x + 2 * r, y + r), fill=c.near(240, 240, 238, spread=7))


def _lobby(c: Canvas) -> None:
    c.halves(c.near(120, 90, 130), c.near(200, 175, 120), c.at(0.6, 0.72))
    for k in range(3):
        c.box(c.at(0.08, 0.16) + 30 * k, 6, 8, SIZE - 30, c.near(225, 210, 175))
    c.disc(c.at(0.35, 0.65), c.at(0.1, 0.2), c.at(0.07, 0.11), c.near(245, 220, 90))


def _restaurant(c: Canvas) -> None:
    c.halves(c.near(90, 60, 45), c.near(60, 42, 35), c.at(0.4, 0.55))
    for _ in range(4):
        x, y, r = c.at(0.12, 0.88), c.at(0.4, 0.85), c.at(0.09, 0.13)
        c.disc(x, y, r, c.near(235, 225, 210, spread=12))
        c.disc(x, y, r // 2, c.near(200, 70, 40))


def _gym(c: Canvas) -> None:
    c.halves(c.near(130, 135, 140), c.near(50, 52, 58), c.at(0.55, 0.68))
    for _ in range(3):
        x, y, w = c.at(0.05, 0.55), c.at(0.3, 0.85), c.at(0.25, 0.4)
        c.draw.line((x, y, x + w, y), fill=c.near(25, 25, 28, spread=10), width=4)
        for end in (x, x + w):
            c.disc(end, y, c.at(0.06, 0.1), c.near(210, 60, 30))


def _beach(c: Canvas) -> None:
    sea, sand = c.at(0.3, 0.42), c.at(0.52, 0.68)
    c.halves(c.near(135, 195, 240), c.near(235, 205, 145), sand)
    c.box(0, sea, SIZE, sand - sea, c.near(25, 110, 165))
    c.disc(c.at(0.15, 0.85), c.at(0.08, 0.2), c.at(0.07, 0.12), c.near(250, 215, 70))


def _garden(c: Canvas) -> None:
    c.halves(c.near(160, 205, 235), c.near(70, 150, 60), c.at(0.35, 0.5))
    for _ in range(4):
        x, y, r = c.at(0.1, 0.9), c.at(0.25, 0.55), c.at(0.09, 0.15)
        c.box(x - 2, y, 5, c.at(0.2, 0.3), c.near(95, 65, 40))
        c.disc(x, y, r, c.near(30, 110, 45))


AREAS: dict[str, Callable[[Canvas], None]] = {
    "bathroom": _bathroom,
    "beach": _beach,
    "bedroom": _bedroom,
    "garden": _garden,
    "gym": _gym,
    "lobby": _lobby,
    "pool": _pool,
    "restaurant": _restaurant,
}


def draw_area(label: str, rng: np.random.Generator) -> Image.Image:
    """One picture of a hotel area, RGB, SIZE x SIZE pixels."""
    image = Image.new("RGB", (SIZE, SIZE))
    AREAS[label](Canvas(rng, ImageDraw.Draw(image)))
    # Clutter of chance, so that two pictures of one area are no near-duplicates, and grain.
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, w, h = rng.integers(0, SIZE, 4) // (1, 1, 5, 5)
        draw.rectangle((x, y, x + w, y + h), fill=tuple(int(v) for v in rng.integers(30, 226, 3)))
    grain = rng.normal(0, 6, (SIZE, SIZE, 1)) + np.asarray(image, dtype=np.float64)
    return Image.fromarray(np.clip(grain, 3, 252).astype(np.uint8))


def draw_folder(folder: Path, per_class: int = PER_CLASS, seed: int = SEED) -> Path:
    """Draw the whole set into a folder, once: an existing folder is left as it is.

    The set is the same every time, to the byte and to the modification time, so that a lake finds it unchanged.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".drawing-") as scratch:
        work = Path(scratch, "photos")
        rng = np.random.default_rng(seed)
        for label in AREAS:
            _draw_class(work / label, label, rng, per_class)
        _add_refusals(work, rng)
        for path in work.rglob("*"):
            os.utime(path, (0, 0))
        work.rename(folder)
    return folder


def _draw_class(folder: Path, label: str, rng: np.random.Generator, per_class: int) -> None:
    folder.mkdir(parents=True)
    for number in range(per_class):
        encoding = ENCODINGS[number % len(ENCODINGS)]
        _save(draw_area(label, rng), folder / f"{label}_{number:04}.{encoding}")


def _save(image: Image.Image, path: Path, quality: int = 92) -> None:
    image.save(path, quality=quality) if path.suffix in (".jpg", ".webp") else image.save(path)


def _add_refusals(work: Path, rng: np.random.Generator) -> None:
    """Something for each stage to refuse: duplicates, blurred, over-exposed and broken files."""
    labels = list(AREAS)
    for number, label in enumerate(labels):
        first = sorted((work / label).glob("*.jpg"))
        for k in range(6):  # the same picture, coded again
            _save(Image.open(first[k]), work / label / f"again_{k}.jpg", quality=80)
        for k in range(3):
            soft = draw_area(label, rng).filter(ImageFilter.GaussianBlur(7))
            _save(soft, work / label / f"blurred_{k}.jpg")
            bright = draw_area(label, rng).point(lambda v: min(255, v + 190))
            _save(bright, work / label / f"bright_{k}.png")
        # The same picture under another label: nobody can tell which is right.
        other = labels[(number + 1) % len(labels)]
        _save(Image.open(first[-1]), work / other / f"misfiled_{label}.jpg", quality=88)
        data = first[7].read_bytes()
        (work / label / "truncated.jpg").write_bytes(data[: len(data) // 2])
    _add_oddities(work, rng)


def _add_oddities(work: Path, rng: np.random.Generator) -> None:
    """Files that a real folder has: other colour modes, a rotated photo, and what is no image at all."""
    draw_area("pool", rng).convert("CMYK").save(work / "pool" / "print_cmyk.jpg")
    draw_area("lobby", rng).convert("L").save(work / "lobby" / "grey.png")
    rotated = draw_area("beach", rng).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save(work / "beach" / "rotated.jpg", exif=exif)
    deep = np.asarray(draw_area("gym", rng).convert("L"), dtype=np.uint16) * 257
    Image.fromarray(deep).save(work / "gym" / "deep_16_bit.png")
    (work / "README.txt").write_text("Photos of the hotel, one folder per area.\n")
    (work / "garden" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(60))
    (work / "restaurant" / "empty.jpg").write_bytes(b"")
