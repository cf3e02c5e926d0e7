"""Inputs of a vLLM engine: prompts with prepared images, made on CPUs while engines compute."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from mm_assets.engines.answering.pictures import Picture, decode_pictures
from mm_assets.engines.answering.questions import Answer, Question
from mm_assets.engines.answering.vllm.engine import PROCESSOR_CACHE_GB, arguments, require_vllm
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.models.processors import load_processor
from mm_assets.engines.models.prompts import Prompts
from mm_assets.engines.store.s3 import Secrets
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PredictSettings


@dataclass(frozen=True)
class Rendered:
    """One row of a piece of work with the engine's inputs; where they could not be made, `error` says why."""

    piece: int
    place: int
    image_id: str
    sha256: str
    question: int
    inputs: Any = None
    error: str | None = None


class Renderer:
    """A Ray Data worker that prepares images for the engine. It reads their bytes itself: vLLM never gets a uri."""

    def __init__(
        self,
        tables: Lake,
        images: LanceRef,
        digest: str,
        questions: Sequence[Question],
        settings: PredictSettings,
        secrets: Secrets,
    ) -> None:
        secrets.restore()
        require_vllm()
        self._images = LanceImages(tables, images)
        self._inputs = InputMaker(local_folder(tables, digest), questions, settings)

    def __call__(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Prepare rows, piece by piece.

        Args:
            rows: of some pieces, one after the other: `piece`, `place`, `image_id`, `sha256`, `_rowid`, `question`.

        Yields:
            For each piece, one row per image: `rendered`, a pickled list of `Rendered`, one for each question.
        """
        for piece in pc.unique(rows["piece"]):
            yield self._prepared(rows.filter(pc.equal(rows["piece"], piece)))

    def _prepared(self, rows: pa.Table) -> pa.Table:
        pieces: dict[int, list[Rendered]] = {}
        for row, picture in zip(rows.to_pylist(), decode_pictures(rows, self._images.stored(rows)), strict=True):
            pieces.setdefault(row["_rowid"], []).append(self._rendered(row, picture))
        # One pickle for all questions of an image: its pixels are in it once.
        pickled = [pickle.dumps(group, protocol=5) for group in pieces.values()]
        return pa.table({"rendered": pa.array(pickled, pa.large_binary())})

    def _rendered(self, row: dict[str, Any], picture: Picture | Answer) -> Rendered:
        identity = {name: row[name] for name in ("piece", "place", "image_id", "sha256", "question")}
        if isinstance(picture, Answer):
            return Rendered(**identity, error=picture.error)
        try:
            return Rendered(**identity, inputs=self._inputs.of(picture.image, row["sha256"], row["question"]))
        except Exception as error:  # noqa: BLE001  (a row's exception becomes that row's error)
            return Rendered(**identity, error=f"{type(error).__name__}: {error}")


class InputMaker:
    """Makes vLLM's complete inputs: token ids, pixels, and the image's SHA-256 as its id.

    Without an id of ours, each renderer counts its images as their ids. An engine with two renderers would then take
    one image for another.

    Args:
        folder: of the model's processor.
        questions: about each image.
        settings: of the predictions.
    """

    def __init__(self, folder: Path, questions: Sequence[Question], settings: PredictSettings) -> None:
        from vllm.config import VllmConfig
        from vllm.engine.arg_utils import EngineArgs
        from vllm.renderers.registry import renderer_from_config

        engine_arguments = arguments(folder, settings, len(questions))
        engine_arguments["mm_processor_cache_gb"] = PROCESSOR_CACHE_GB if len(questions) > 1 else 0
        # As in vLLM's own `launch render`: the model's configuration alone needs no GPU.
        self._config = EngineArgs(**engine_arguments).create_model_config()
        self._renderer = renderer_from_config(VllmConfig(model_config=self._config))
        prompts = Prompts(load_processor(folder))
        self._prompts = [prompts.tokens(prompts.prompt_text(question.prompt)) for question in questions]

    def of(self, image: Image.Image, sha256: str, question: int) -> Any:  # noqa: ANN401  (vLLM's EngineInput)
        """The inputs of one question about one image.

        Raises:
            ValueError: the processor cannot take the image. Some models raise other errors.
        """
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        prompt = {
            "prompt_token_ids": self._prompts[question],
            "multi_modal_data": {"image": image},
            "multi_modal_uuids": {"image": [sha256]},
        }
        (rendered,) = self._renderer.render_cmpl([parse_model_prompt(self._config, prompt)], skip_mm_cache=True)
        return rendered
