"""A vision-language model in memory, with its processor: prompts as training saw them, batches padded on the left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from mm_assets.chat import assistant_message, user_message
from mm_assets.engines.processors import load_processor
from mm_assets.settings import PredictSettings


@dataclass(frozen=True)
class LoadedModel:
    """Model, processor and the device that they compute on."""

    model: Any
    processor: Any
    device: str

    @classmethod
    def load(cls, folder: Path, settings: PredictSettings) -> Self:
        """Load merged weights and processor, with the precision and the resources of the settings."""
        torch.set_num_threads(max(1, int(settings.resources.cpus)))
        device = "cuda" if settings.resources.gpus > 0 else "cpu"
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        processor = load_processor(folder)
        processor.tokenizer.padding_side = "left"
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
        return cls(model.to(device).eval(), processor, device)

    def asked(self, prompt: str) -> str:
        """The prompt as the chat template renders it, ready to be answered."""
        return str(self.processor.apply_chat_template([user_message(prompt)], tokenize=False))

    def told(self, prompt: str, answer: str) -> str:
        """The prompt with its answer and the end of the turn."""
        messages = [user_message(prompt), assistant_message(answer)]
        return str(self.processor.apply_chat_template(messages, tokenize=False))

    def answer_tokens(self, prompt: str, answer: str) -> list[int]:
        """The tokens of an answer, end of the turn included.

        Prompt and answer are tokenized together, as training saw them: a SentencePiece tokenizer would begin an answer
        that stands alone with another token.

        Raises:
            ValueError: the chat template or the tokenizer changes the prompt when an answer follows.
        """
        asked, whole = self._ids(self.asked(prompt)), self._ids(self.told(prompt, answer))
        if whole[: len(asked)] != asked or len(whole) == len(asked):
            raise ValueError(f"the prompt's tokens change when the answer {answer!r} follows: it cannot be scored")
        return whole[len(asked) :]

    def _ids(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def inputs(self, texts: Sequence[str], images: Sequence[Image.Image]) -> Any:  # noqa: ANN401  (a BatchFeature)
        """A batch of rendered texts with an image each, as the model takes it.

        Positions count from the first real token of each row; left to itself, the model counts the padding too.
        """
        inputs = self.processor(
            text=list(texts), images=list(images), padding=True, return_tensors="pt", add_special_tokens=False
        ).to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        return inputs
