"""A base model is made once, registered by its files, and refused where the loss could not tell the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from mm_assets.demo.tiny_llava import build
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.models.processors import load_processor
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.settings import BaseModelSettings
from mm_assets.stages.base.job import provide_base
from mm_assets_tests.kit.steps import run_step

WITHOUT_MARKS = f"{__name__}:build_without_marks"


def build_without_marks(folder: Path, seed: int) -> None:
    """A model whose template says nothing of what the assistant wrote, in each of the places that templates come in."""
    build(folder, seed)
    plain = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(plain)
    for name in ("processor_config.json", "tokenizer_config.json"):
        if (path := folder / name).is_file():
            path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": plain}))


def base(tables: Lake, **settings: Any) -> Record:
    wanted = BaseModelSettings(kind="built", **settings)
    return run_step(tables, lambda step: provide_base(step, tables, wanted), "base_model")["base_model"]


def test_the_same_recipe_is_built_once(tables: Lake) -> None:
    first = base(tables)
    again = base(tables)
    other = base(tables, seed=1)
    assert (again.ref, again.metadata["digest"]) == (first.ref, first.metadata["digest"])
    assert again.reused
    assert other.metadata["digest"] != first.metadata["digest"]
    assert base(tables).metadata["digest"] == first.metadata["digest"]  # registered before; named anew


def test_a_template_without_marks_is_refused_or_replaced(tables: Lake) -> None:
    with pytest.raises(RefusalError, match=r"base.chat_template \(MM_BASE__CHAT_TEMPLATE\)"):
        base(tables, builder=WITHOUT_MARKS)
    made = base(tables, builder=WITHOUT_MARKS, chat_template="mistral")
    assert "{% generation %}" in load_processor(local_folder(tables, made.metadata["digest"])).chat_template


def test_a_builder_that_is_not_there_is_refused_by_its_setting(tables: Lake) -> None:
    with pytest.raises(RefusalError, match=r"base.builder \(MM_BASE__BUILDER\)"):
        base(tables, builder="mm_assets.demo.tiny_llava:nowhere")
