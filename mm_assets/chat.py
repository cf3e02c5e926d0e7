"""The text of an example: templates, chat messages in TRL's format, and checks that need no model."""

import re
from collections.abc import Collection, Sequence
from typing import Any

Message = dict[str, Any]

IMAGE_TOKEN = "<image>"

# Mistral's instruct format, which LLaVA-NeXT was trained with. The loss counts the text inside `generation`.
MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ ' [/INST]' }}"
    "{% else %}{% generation %}"
    "{% for part in message['content'] %}{{ ' ' + part['text'] }}{% endfor %}{{ eos_token }}"
    "{% endgeneration %}{% endif %}{% endfor %}"
)


def fill(template: str, labels: Sequence[str] = (), **values: str) -> str:
    """Put `{labels}` (joined by ", ") and other values, such as `{label}` or `{caption}`, into a template.

    All values are put in at once, so that braces inside a value stay. A name without a value stays plain text.
    """
    values_by_name = {"labels": ", ".join(labels), **values}
    return re.sub(r"{(\w+)}", lambda match: values_by_name.get(match[1], match[0]), template)


def user_message(text: str, images: int = 1) -> Message:
    """The user's message: the images, then the text."""
    return {"role": "user", "content": [*({"type": "image"} for _ in range(images)), {"type": "text", "text": text}]}


def assistant_message(text: str) -> Message:
    """The assistant's message."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def fault(messages: Sequence[Message], num_images: int, special_tokens: Collection[str] = (IMAGE_TOKEN,)) -> str | None:
    """Check the messages of an example; give the reason why training could not use them, or None.

    User and assistant must alternate, the user first and the assistant last. There must be as many image placeholders
    as images. No text may contain a special token, such as an image's or a turn's end. No answer may be empty.
    """
    roles = [message["role"] for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        return f"roles do not alternate from user to assistant: {', '.join(roles)}"
    parts = [part for message in messages for part in message["content"]]
    placeholders = sum(part["type"] == "image" for part in parts)
    if placeholders != num_images:
        return f"{placeholders} image placeholders for {num_images} images"
    for token in sorted(special_tokens):
        if any(token in (part.get("text") or "") for part in parts):
            return f"the text contains the special token {token}"
    answers = [part["text"] for message in messages if message["role"] == "assistant" for part in message["content"]]
    return None if all(answer.strip() for answer in answers) else "an answer is empty"


def without_gaps(messages: Sequence[Message]) -> list[Message]:
    """Remove the null fields that an Arrow struct column adds to messages."""

    def known_part(part: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in part.items() if value is not None}

    return [{**message, "content": [known_part(part) for part in message["content"]]} for message in messages]
