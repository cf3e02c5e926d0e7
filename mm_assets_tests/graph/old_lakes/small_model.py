"""A base model of a megabyte: the project's own tiny LLaVA, narrower."""

from pathlib import Path
from typing import Any
from unittest import mock

from transformers import CLIPVisionConfig, MistralConfig

from mm_assets.demo import tiny_llava

VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "projection_dim": 64}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def build(folder: Path, seed: int) -> None:
    """Write it into a folder."""

    def narrow_vision(**given: Any) -> Any:
        return CLIPVisionConfig(**{**given, **VISION})

    def narrow_text(**given: Any) -> Any:
        return MistralConfig(**{**given, **TEXT})

    with mock.patch.multiple(tiny_llava, CLIPVisionConfig=narrow_vision, MistralConfig=narrow_text):
        tiny_llava.build(folder, seed)
