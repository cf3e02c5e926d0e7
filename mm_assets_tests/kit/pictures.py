"""Folders of drawn pictures: a few of three labels, or some of every label of the embedded default."""

import shutil
from pathlib import Path

import numpy as np

from mm_assets.demo.pictures import draw_area


def draw_few(folder: Path) -> Path:
    """24 pictures of three labels, one of them broken, and a text file."""
    rng = np.random.default_rng(7)
    for label in ("beach", "gym", "pool"):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            draw_area(label, rng).save(folder / label / f"{number}.png")
    (folder / "gym" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "notes.txt").write_text("taken in June")
    return folder


def some_of(drawn: Path, folder: Path) -> Path:
    for label in (path for path in drawn.iterdir() if path.is_dir()):
        (folder / label.name).mkdir()
        for path in sorted(label.iterdir())[:30]:
            shutil.copy2(path, folder / label.name)
    return folder
