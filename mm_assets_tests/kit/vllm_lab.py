"""vLLM in a process of its own, for tests: it changes torch for all of a process."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import ray
from PIL import Image

from mm_assets.engines.answering.pictures import Picture
from mm_assets.engines.answering.questions import Answer, Question
from mm_assets.engines.answering.vllm.answerer import Wanted
from mm_assets.engines.answering.vllm.engine import Engine, environment
from mm_assets.engines.answering.vllm.renderer import InputMaker, Rendered, Renderer
from mm_assets.engines.answering.vllm.suspects import CrashReport, Request
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.prompts import Prompts
from mm_assets.settings import PredictSettings

HOW_TO_INSTALL = "vLLM is not installed (`make vllm`; there are wheels for GPUs, and for CPUs on Linux x86_64)"
# Not `importorskip`: importing vLLM takes a second of every process that only collects tests.
NEEDS_VLLM = pytest.mark.skipif(find_spec("vllm") is None, reason=HOW_TO_INSTALL)

Photo = tuple[str, Image.Image]


@dataclass(frozen=True)
class Said:
    """An answer; `refused` instead where vLLM would not take the request.

    Args:
        answer: as predictions have it.
        tokens: of the prompt,
        cached_tokens: and those of them that were computed before.
        refused: why there is no answer.
        prepared: how often an image was prepared for it,
        encoded: and encoded.
    """

    answer: Answer | None
    tokens: int = 0
    cached_tokens: int = 0
    refused: str | None = None
    prepared: int = 0
    encoded: int = 0


class Lab:
    """An engine, and whatever renderers are wanted."""

    def __init__(self, folder: Path, how: PredictSettings, questions: int) -> None:
        self._folder, self._how = folder, how
        self._prompts = Prompts(load_processor(folder))
        self._engine = Engine(folder, how, questions, CrashReport(), raised=print)

    def ask(
        self, question: Question, photos: Sequence[Photo], how: PredictSettings | None = None, renderers: int = 1
    ) -> list[Said]:
        """Answers about photos, which the renderers prepare in turns."""
        makers = [InputMaker(self._folder, [question], self._how) for _ in range(renderers)]
        inputs = [makers[place % renderers].of(image, sha, 0) for place, (sha, image) in enumerate(photos)]
        return self._message_text(question, [sha for sha, _ in photos], inputs, how or self._how)

    def ask_twice(self, questions: Sequence[Question], photo: Photo) -> list[Said]:
        """Answers to two questions about a photo, one after the other, with what was done for each."""
        sha, image = photo
        maker = InputMaker(self._folder, questions, self._how)
        prepared = _count(maker._renderer.mm_processor.info.ctx, "call_hf_processor")
        encoded = _count(
            self._engine._engine.model_executor.driver_worker.worker.model_runner.model, "embed_multimodal"
        )
        said = []
        for number, question in enumerate(questions):
            before = len(prepared), len(encoded)
            (found,) = self._message_text(question, [sha], [maker.of(image, sha, number)], self._how)
            said.append(replace(found, prepared=len(prepared) - before[0], encoded=len(encoded) - before[1]))
        return said

    def ask_nonsense(self, question: Question, photo: Photo) -> list[Said]:
        """Answers about a photo before and after something that is no request."""
        sha, image = photo
        made = InputMaker(self._folder, [question], self._how).of(image, sha, 0)
        return self._message_text(question, [sha] * 3, [made, None, made], self._how)

    def _message_text(
        self, question: Question, ids: Sequence[str], inputs: Sequence[Any], how: PredictSettings
    ) -> list[Said]:
        wanted = Wanted(question, self._prompts, how)
        outputs = self._engine.answer(
            [
                Request((0, 0), made, wanted.params(Rendered(0, 0, sha, sha, 0)))
                for sha, made in zip(ids, inputs, strict=True)
            ]
        )
        return [
            Said(None, refused=str(found))
            if isinstance(found, BaseException)
            else Said(wanted.answer(sha, found.outputs[0]), len(found.prompt_token_ids), found.num_cached_tokens)
            for sha, found in zip(ids, outputs, strict=True)
        ]


def _count(owner: Any, name: str) -> list[None]:
    """One item for each call of a method from now on."""
    calls: list[None] = []
    method = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return method(*args, **kwargs)

    object.__setattr__(owner, name, counted)
    return calls


def spoiling(shas: Collection[str]) -> type[Renderer]:
    """A renderer of whose images some have hardly any pixels left: the engine raises when it computes them."""

    class Spoiling(Renderer):
        def _rendered(self, row: dict[str, Any], found: Picture | Answer) -> Rendered:
            made = super()._rendered(row, found)
            if row["sha256"] in shas:
                (pixels,) = (item["pixel_values"] for item in made.inputs["mm_kwargs"]["image"])
                pixels.data = pixels.data.flatten()[:7]
            return made

    return Spoiling


class Asking:
    """The lab's methods, called in its process."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: ray.get(getattr(self._actor, name).remote(*args, **kwargs))


@contextmanager
def lab(folder: Path, how: PredictSettings, questions: int) -> Iterator[Asking]:
    """A lab with an engine of the model in a folder, with the environment that a worker has; Ray runs already."""
    actor = ray.remote(Lab).options(runtime_env={"env_vars": environment(how)}).remote(folder, how, questions)
    try:
        yield Asking(actor)
    finally:
        ray.kill(actor)
