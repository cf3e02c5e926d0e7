"""The table of engines names one module for each engine that the settings offer."""

import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import get_args

import pytest

from mm_assets.engines.answering import run
from mm_assets.settings import PredictSettings

OFFERED = get_args(PredictSettings.model_fields["engine"].annotation)


def test_every_engine_that_can_be_set_stands_in_the_table() -> None:
    assert set(OFFERED) == set(run.ENGINES)


@pytest.mark.parametrize("engine", OFFERED)
def test_an_engine_is_run_as_all_are(engine: str) -> None:
    assert find_spec(run.ENGINES[engine]) is not None
    assert inspect.signature(import_module(run.ENGINES[engine]).run) == inspect.signature(run.run)
