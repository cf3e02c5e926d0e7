"""The loops that people write: all images of a folder to one engine, in a process of their own."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mm_assets.engines.answering.questions import Question
from mm_assets.settings import PredictSettings


@dataclass(frozen=True)
class Loop:
    """What a loop is given: the files, the model's folder, the words, and the settings that the project has too."""

    paths: Sequence[Path]
    model: Path
    question: Question
    settings: PredictSettings


@dataclass(frozen=True)
class Found:
    """Seconds to load the model, of each pass over all images, and the answers of the last."""

    start_s: float
    passes_s: list[float]
    answers: list[str]


def run(loop: Loop, passes: int = 2) -> Found:
    """Load the model, and go over the images so many times; nothing is cached from one pass to the next."""
    began = time.perf_counter()
    ask = (_vllm if loop.settings.engine == "vllm" else _transformers)(loop)
    start_s, seconds, answers = time.perf_counter() - began, [], []
    for _ in range(passes):
        since = time.perf_counter()
        answers = ask([Image.open(path).convert("RGB") for path in loop.paths])
        seconds.append(time.perf_counter() - since)
    return Found(start_s, seconds, answers)


Ask = Callable[[list[Image.Image]], list[str]]


def _vllm(loop: Loop) -> Ask:
    """`LLM.generate` on everything at once, as vLLM's own examples for images do."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    from mm_assets.engines.answering.vllm.engine import arguments
    from mm_assets.engines.models.processors import load_processor
    from mm_assets.engines.models.prompts import Prompts

    engine = LLM(**arguments(loop.model, loop.settings, 1))
    prompts = Prompts(load_processor(loop.model))
    prompt = loop.question.prompt
    choices = [prompts.answer_text(prompt, text) for text in loop.question.answers.values()]
    params = SamplingParams(temperature=0, max_tokens=64, structured_outputs=StructuredOutputsParams(choice=choices))
    ids = prompts.tokens(prompts.prompt_text(prompt))

    def ask(images: list[Image.Image]) -> list[str]:
        requests = [{"prompt_token_ids": ids, "multi_modal_data": {"image": image}} for image in images]
        return [output.outputs[0].text.strip() for output in engine.generate(requests, params, use_tqdm=False)]

    return ask


def _transformers(loop: Loop) -> Ask:
    """`generate` in batches, each padded, held to the answers."""
    from mm_assets.engines.answering.pictures import Picture
    from mm_assets.engines.answering.transformers.generators import Writer
    from mm_assets.engines.answering.transformers.loaded_model import LoadedModel

    writer = Writer(LoadedModel.load(loop.model, loop.settings), loop.question, 64)
    size = loop.settings.batch_size

    def ask(images: list[Image.Image]) -> list[str]:
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        return [str(answer.text) for batch in batches for answer in writer.answer([Picture("", one) for one in batch])]

    return ask


def installed() -> Any:  # noqa: ANN401  (the name of an engine, as the settings have it)
    """The engine to measure by: vLLM where it is."""
    return "vllm" if importlib.util.find_spec("vllm") else "transformers"
