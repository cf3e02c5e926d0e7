"""Prompts and answers in a model's chat template, and their tokens."""

from dataclasses import dataclass
from typing import Any

from mm_assets.chat import assistant_message, user_message


@dataclass(frozen=True)
class Prompts:
    """A model's prompts and answers, rendered as training rendered them.

    Args:
        processor: the model's, with its tokenizer and chat template.
    """

    processor: Any

    def prompt_text(self, prompt: str) -> str:
        """The rendered prompt, which an answer can follow."""
        return str(self.processor.apply_chat_template([user_message(prompt)], tokenize=False))

    def dialogue_text(self, prompt: str, answer: str) -> str:
        """The rendered prompt with its answer and the end of the turn."""
        messages = [user_message(prompt), assistant_message(answer)]
        return str(self.processor.apply_chat_template(messages, tokenize=False))

    def tokens(self, text: str) -> list[int]:
        """The tokens of a rendered text; the template has added the special tokens already."""
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def answer_tokens(self, prompt: str, answer: str) -> list[int]:
        """The tokens of an answer, end of the turn included.

        Prompt and answer are tokenized together, as in training. A SentencePiece tokenizer would begin an answer that
        stands alone with another token.

        Raises:
            ValueError: the chat template or the tokenizer changes the prompt when an answer follows.
        """
        prompt_tokens, whole = self.tokens(self.prompt_text(prompt)), self.tokens(self.dialogue_text(prompt, answer))
        if whole[: len(prompt_tokens)] != prompt_tokens or len(whole) == len(prompt_tokens):
            raise ValueError(f"the prompt's tokens change when the answer {answer!r} follows: it cannot be scored")
        return whole[len(prompt_tokens) :]

    def answer_text(self, prompt: str, answer: str) -> str:
        """The exact text of an answer after the prompt: with its leading space, without the end of the turn.

        Raises:
            ValueError: the chat template changes the prompt when an answer follows.
        """
        rendered, whole = self.prompt_text(prompt), self.dialogue_text(prompt, answer)
        if not whole.startswith(rendered):
            raise ValueError(f"the prompt changes when the answer {answer!r} follows: a model cannot be held to it")
        text = whole.removeprefix(rendered)
        ends = (text.find(token) for token in self.processor.tokenizer.all_special_tokens)
        return text[: min((end for end in ends if end >= 0), default=len(text))]

    def ends(self, generation_config: Any) -> list[int]:  # noqa: ANN401  (a GenerationConfig)
        """The tokens that end an answer.

        Training teaches the tokenizer's end token. A model may have others, such as the end of a chat's turn.
        """
        own, taught = generation_config.eos_token_id, self.processor.tokenizer.eos_token_id
        return sorted({*(own if isinstance(own, list) else [own]), taught} - {None})
