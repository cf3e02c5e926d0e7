"""Objects to measure with: random bytes of the size of photos, drawn photos that decode, and real ones."""

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

LABELS = ("beach", "gym", "lobby", "pool")
MEAN_BYTES = 100_000
SIDES = (800, 600)


def image_id(number: int) -> str:
    """Id of one object: a path, as a folder gives it."""
    return f"{LABELS[number % len(LABELS)]}/{number:07d}.jpg"


def number_of(image_id: str) -> int:
    """The number that an id was made of."""
    return int(image_id.rpartition("/")[2].partition(".")[0])


def random_rows(schema: pa.Schema, count: int, batch: int, mean_bytes: int = MEAN_BYTES) -> Iterator[pa.Table]:
    """Rows with random bytes for images, uniformly between half and one and a half of the mean size; the same always.

    Args:
        schema: of the rows, with a `large_binary` image; columns that are not made here are null.
        count: of rows.
        batch: rows of one table.
        mean_bytes: of an image.
    """
    for start in range(0, count, batch):
        rng = np.random.default_rng(start)
        sizes = rng.integers(mean_bytes // 2, mean_bytes * 3 // 2, min(batch, count - start))
        yield rows_of(schema, start, [rng.bytes(int(size)) for size in sizes])


def photo_rows(schema: pa.Schema, count: int, batch: int, photos: list[bytes]) -> Iterator[pa.Table]:
    """Rows of photos that decode: a few ones in turn, each with a serial number after its end."""
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        yield rows_of(schema, start, [serial(photos[number % len(photos)], number) for number in numbers])


def serial(photo: bytes, number: int) -> bytes:
    """The same photo in other bytes: decoders stop at a JPEG's end, so what follows changes nothing but the digest."""
    return photo + number.to_bytes(8, "big")


def rows_of(schema: pa.Schema, start: int, images: list[bytes]) -> pa.Table:
    """Rows of `images.lance` (or of another table with such columns) for images numbered from `start`."""
    count = len(images)
    sizes = {
        "image_id": [image_id(start + offset) for offset in range(count)],
        "source_uri": [image_id(start + offset) for offset in range(count)],
        "sha256": [hashlib.sha256(data).hexdigest() for data in images],
        "image": images,
        "format": ["JPEG"] * count,
        "width": [SIDES[0]] * count,
        "height": [SIDES[1]] * count,
        "num_bytes": [len(data) for data in images],
        "label": [LABELS[(start + offset) % len(LABELS)] for offset in range(count)],
    }
    arrays = [pa.array(sizes.get(field.name, [None] * count), field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def draw(number: int, sides: tuple[int, int] = SIDES, noise: float = 6.0) -> bytes:
    """One unlike photo (about 100 KB as it stands): coarse noise for its content, fine noise for its bytes."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(sides, Image.Resampling.BICUBIC)
    fine = rng.normal(0, noise, (sides[1], sides[0], 1)).astype(np.float32)
    pixels = np.clip(np.asarray(coarse, dtype=np.float32) + fine, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def draw_many(count: int, first: int = 0) -> list[bytes]:
    """Drawn photos, on all cores."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(draw, range(first, first + count), chunksize=8))


def real() -> list[bytes] | None:
    """The real photos of the test data, where there are any (TEST_DATA)."""
    place = Path(os.environ.get("TEST_DATA", ""), "photos", "rooms")
    if "TEST_DATA" not in os.environ or not place.is_dir():
        return None
    return [path.read_bytes() for path in sorted(place.rglob("*.jpg"))]


def write_folder(folder: Path, photos: list[bytes], count: int) -> None:
    """A folder of photos, each file with a serial number after its end."""
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / image_id(number)).write_bytes(serial(photos[number % len(photos)], number))
