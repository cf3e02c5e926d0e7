"""A vision-language model in memory, with its processor: prompts as in training, batches padded on the left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.prompts import Prompts
from mm_assets.settings import PredictSettings


@dataclass
class Counted:
    """A model's tokens in and out, and the seconds in which the processor prepared its inputs."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    preparing_s: float = 0.0


@dataclass(frozen=True)
class LoadedModel:
    """A model, its processor, and the device that they compute on."""

    model: Any
    processor: Any
    device: str
    counted: Counted = field(default_factory=Counted)

    @classmethod
    def load(cls, folder: Path, settings: PredictSettings) -> Self:
        """Load merged weights and processor, with the settings' precision and resources."""
        torch.set_num_threads(max(1, int(settings.resources.cpus)))
        device = "cuda" if settings.resources.gpus > 0 else "cpu"
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        processor = load_processor(folder)
        processor.tokenizer.padding_side = "left"
        # With several GPUs the model's layers are spread over them.
        spread = {"device_map": "auto"} if settings.resources.gpus > 1 else {}
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True, **spread)
        return cls((model if spread else model.to(device)).eval(), processor, device)

    @property
    def prompts(self) -> Prompts:
        """The prompts of this model."""
        return Prompts(self.processor)

    def inputs(self, texts: Sequence[str], images: Sequence[Image.Image]) -> Any:  # noqa: ANN401  (a BatchFeature)
        """The model's inputs for a batch of rendered texts with an image each.

        Positions count from the first real token of each row. By default the model counts the padding too.
        """
        since = time.monotonic()
        inputs = self.processor(
            text=list(texts), images=list(images), padding=True, return_tensors="pt", add_special_tokens=False
        ).to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        self.counted.prompt_tokens += int(inputs["attention_mask"].sum())
        self.counted.preparing_s += time.monotonic() - since
        return inputs
