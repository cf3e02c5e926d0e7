"""The chat request that a model was trained on, in the format of vLLM's OpenAI-compatible server."""

import json
import shlex
from typing import Any

from mm_assets.chat import fill

NAME = "request.json"
# Stands for the bytes of a picture in base64.
IMAGE = "<base64 of the image>"
# Enough for a label; for a caption the default of `predict.max_new_tokens`.
MAX_TOKENS = 64

Request = dict[str, Any]


def chat_request(model_name: str, prompt: str) -> Request:
    """The body of `POST /v1/chat/completions`, with one picture (`IMAGE`) before the prompt, as in training."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{IMAGE}"}}
    content = [picture, {"type": "text", "text": prompt}]
    return {
        "model": model_name,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    }


def prompt_of(recipe: dict[str, Any], task: str) -> str:
    """The prompt of a task, as the checkpoint was trained on it."""
    trained = next(item for item in recipe["tasks"] if item["task"] == task)
    return fill(trained["prompt"], recipe["labels"])


def as_text(request: Request) -> str:
    """The request as indented JSON."""
    return json.dumps(request, indent=2, ensure_ascii=False) + "\n"


def as_command(request: Request, url: str, key: bool = False) -> str:
    """A shell command that sends the request about `photo.jpg`.

    The picture goes through a pipe, because one argument of a command may have at most 128 KiB on Linux.

    Args:
        request: a request with `IMAGE` in it.
        url: address of the server, such as http://127.0.0.1:8000.
        key: whether the server needs the key in VLLM_API_KEY.
    """
    before, _, after = json.dumps(request).partition(IMAGE)
    picture = "base64 < photo.jpg | tr -d '\\n'"
    body = f"{{ printf %s {shlex.quote(before)}; {picture}; printf %s {shlex.quote(after)}; }}"
    bearer = ' -H "Authorization: Bearer $VLLM_API_KEY"' if key else ""
    return f"{body} | curl -s {url}/v1/chat/completions -H 'Content-Type: application/json'{bearer} -d @-"
