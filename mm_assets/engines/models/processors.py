"""Token counts of chat examples by the model's own processor, without decoding an image."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mm_assets.chat import Message


def load_processor(model_dir: Path) -> Any:  # noqa: ANN401  (every family has a class of its own)
    """The processor (tokenizer and image processor) saved beside a model."""
    # A step with nothing to count, answer or train need not wait for this import.
    from transformers import AutoProcessor

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return AutoProcessor.from_pretrained(model_dir, local_files_only=True)


class TokenCounter:
    """A counter of the tokens of an example in training: chat template, text, and image tokens.

    Args:
        model_dir: folder of the base model.
    """

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self._images: dict[tuple[int, int], int] = {}

    @cached_property
    def _processor(self) -> Any:  # noqa: ANN401
        return load_processor(self._model_dir)

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        """Texts that the tokenizer does not read as text: end of turn, image, padding."""
        return frozenset(self._processor.tokenizer.all_special_tokens)

    def count(self, messages: Sequence[Message], sizes: Sequence[tuple[int, int]]) -> int:
        """Tokens of one example.

        Args:
            messages: of the chat.
            sizes: (width, height) in pixels of each image, upright.
        """
        return self.text_tokens(messages) + sum(self.beyond_placeholder(*size) for size in sizes)

    def text_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the text, which holds one placeholder token for each image."""
        text = self._processor.apply_chat_template(messages, tokenize=False)
        return len(self._processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def beyond_placeholder(self, width: int, height: int) -> int:
        """Tokens of an image of this size, upright and in pixels, without its placeholder."""
        size = (width, height)
        if size not in self._images:
            counts = self._processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
            (self._images[size],) = counts.num_image_tokens
        return self._images[size] - 1
