"""Questions of all kinds, and three pictures of three shapes to ask about."""

import dataclasses

import numpy as np
from PIL import Image

from mm_assets.demo.pictures import draw_area
from mm_assets.engines.answering.pictures import Picture
from mm_assets.engines.answering.questions import Question

ANSWERS = {"pool": "a pool.", "Gym/Spa": "this is a photo of a Gym/Spa, I think.", "spa": "spa"}

ASKED = Question("label", "what is it?", ANSWERS)

DESCRIBE = Question("caption", "what is it?")

CAPTIONS = {"0": "a pool.", "1": "this is a photo of a pool, a lobby, a gym.", "2": 'a "photo"'}

KNOWN = dataclasses.replace(DESCRIBE, references=CAPTIONS)


def images() -> list[Image.Image]:
    """Of three shapes: their image tokens differ in number, so the batch is padded."""
    rng = np.random.default_rng(5)
    sizes = [(96, 96), (200, 100), (60, 180)]
    return [draw_area(label, rng).resize(size) for label, size in zip(("pool", "gym", "lobby"), sizes, strict=True)]


def pictures() -> list[Picture]:
    return [Picture(str(number), image) for number, image in enumerate(images())]
