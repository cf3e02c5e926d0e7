"""Answers by vLLM to rendered requests: one of the allowed labels, or a caption."""

import hashlib
import math
import pickle
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.actor import ActorHandle

from mm_assets.engines.answering.questions import MEAN, PATH, Answer, Question
from mm_assets.engines.answering.usage import Usage
from mm_assets.engines.answering.vllm.engine import Engine, require_vllm
from mm_assets.engines.answering.vllm.renderer import Rendered
from mm_assets.engines.answering.vllm.suspects import Request
from mm_assets.engines.answering.work import refuse_if_all_failed
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.prompts import Prompts
from mm_assets.engines.store.s3 import Secrets
from mm_assets.settings import PredictSettings, Sampling

# Tokens beyond the longest answer: a model that is held to an answer's letters may spell them in shorter tokens.
SPELLED = 16


class VllmAnswerer:
    """A Ray Data worker with an engine; several threads call it, so that the engine always has work."""

    def __init__(
        self,
        tables: Lake,
        digest: str,
        questions: Sequence[Question],
        settings: PredictSettings,
        secrets: Secrets,
        quarantine: ActorHandle,
    ) -> None:
        began = time.monotonic()
        secrets.restore()
        require_vllm()
        folder = local_folder(tables, digest)
        prompts = Prompts(load_processor(folder))
        self._wanted = [Wanted(question, prompts, settings) for question in questions]
        self._engine = Engine(
            folder,
            settings,
            len(questions),
            report=ray.get(quarantine.report.remote()),
            raised=lambda in_hand, error: ray.get(quarantine.raised.remote(in_hand, error)),
        )
        self._worker, self._prompt_tokens, self._output_tokens = uuid.uuid4().hex, 0, 0
        self._counting = threading.Lock()
        self._ready = time.monotonic()
        self._start_s = self._ready - began

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Answer rendered rows.

        Args:
            rows: as `Renderer` makes them.

        Returns:
            One row: `done`, a pickled pair of a list of (piece, place in it, `Answer`) and `Usage`.

        Raises:
            RuntimeError: none of at least `SUSPICIOUS` rows could be answered, so the engine is at fault.
        """
        rendered: list[Rendered] = [item for data in rows["rendered"] for item in pickle.loads(data.as_py())]
        ready = [item for item in rendered if item.error is None]
        outputs = iter(self._engine.answer([self._request(item) for item in ready]))
        answers = [
            self._answer(item, next(outputs)) if item.error is None else Answer(item.image_id, error=item.error)
            for item in rendered
        ]
        refuse_if_all_failed(answers, [item.question for item in rendered])
        placed = [(item.piece, item.place, answer) for item, answer in zip(rendered, answers, strict=True)]
        return pa.table({"done": pa.array([pickle.dumps((placed, self._usage()))], pa.large_binary())})

    def _request(self, item: Rendered) -> Request:
        return Request((item.piece, item.place), item.inputs, self._wanted[item.question].params(item))

    def _answer(self, item: Rendered, output: Any) -> Answer:  # noqa: ANN401  (a RequestOutput, or why there is none)
        if isinstance(output, BaseException):
            return Answer(item.image_id, error=f"{type(output).__name__}: {output}")
        with self._counting:
            self._prompt_tokens += len(output.prompt_token_ids)
            self._output_tokens += len(output.outputs[0].token_ids)
        return self._wanted[item.question].answer(item.image_id, output.outputs[0])

    def _usage(self) -> Usage:
        run_s = time.monotonic() - self._ready
        waited_s = min(self._engine.waited_s, run_s)
        return Usage(self._worker, self._start_s, run_s, waited_s, self._prompt_tokens, self._output_tokens)


class Wanted:
    """The demands of a question: vLLM's sampling parameters, and the reading of vLLM's output.

    Args:
        question: with answers, or without.
        prompts: of the model.
        settings: of the predictions.
    """

    def __init__(self, question: Question, prompts: Prompts, settings: PredictSettings) -> None:
        self._answers = question.answers
        self._choices = {prompts.answer_text(question.prompt, text): label for label, text in self._answers.items()}
        paths = [prompts.answer_tokens(question.prompt, text) for text in self._answers.values()]
        self._max_tokens = max(map(len, paths)) + SPELLED if paths else settings.max_new_tokens
        self._sampling = settings.sampling

    def params(self, item: Rendered) -> Any:  # noqa: ANN401  (SamplingParams)
        """vLLM's sampling parameters.

        A label is decoded by the likeliest token, within the allowed answers. A caption is sampled as the settings say,
        with a seed from the image's bytes: the same bytes get the same caption.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        options = {"max_tokens": self._max_tokens, "logprobs": 0, "output_kind": RequestOutputKind.FINAL_ONLY}
        if self._choices:
            held = StructuredOutputsParams(choice=list(self._choices))
            return SamplingParams(temperature=0, structured_outputs=held, **options)
        how = self._sampling
        return SamplingParams(
            temperature=how.temperature,
            top_p=how.top_p,
            top_k=how.top_k,
            repetition_penalty=how.repetition_penalty,
            seed=_seed(how, item.sha256) if how.temperature else None,
            **options,
        )

    def answer(self, image_id: str, output: Any) -> Answer:  # noqa: ANN401  (a CompletionOutput)
        """The label with the probability of its tokens among the allowed ones, or a caption."""
        if not self._choices:
            mean = math.exp(output.cumulative_logprob / max(len(output.token_ids), 1))
            return Answer(image_id, text=output.text.strip(), confidence=mean, confidence_kind=MEAN)
        label = self._choices.get(output.text)
        if label is None:
            return Answer(image_id, error=f"ValueError: the answer {output.text!r} is none of the labels' answers")
        return Answer(image_id, label, self._answers[label], math.exp(output.cumulative_logprob), PATH)


def _seed(how: Sampling, sha256: str) -> int:
    return int(hashlib.sha256(f"{how.seed} {sha256}".encode()).hexdigest()[:8], 16)
