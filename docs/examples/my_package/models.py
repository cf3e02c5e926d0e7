"""A base model of one's own: any function that saves a model, its processor and a chat template into a folder."""

from pathlib import Path

from mm_assets.demo import tiny_llava


def build(folder: Path, seed: int) -> None:
    """Here, the project's own tiny LLaVA-NeXT from another seed; yours may convert a checkpoint that you have."""
    tiny_llava.build(folder, seed + 1)
