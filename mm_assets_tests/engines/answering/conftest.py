"""A tiny model with random weights, opened once."""

import pytest

from mm_assets.demo.tiny_llava import build
from mm_assets.engines.answering.transformers.loaded_model import LoadedModel
from mm_assets.settings import PredictSettings


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("tiny")
    build(folder, seed=3)
    return LoadedModel.load(folder, PredictSettings())
