"""The tiny base model: built offline, the same every time, in the key layout that vLLM also loads."""

from pathlib import Path

import pytest

from mm_assets.chat import assistant_message, user_message
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.models.files import files_digest
from mm_assets.engines.models.processors import TokenCounter, load_processor


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build(folder, seed=0)
    return folder


def test_building_twice_gives_the_same_files(tiny: Path, tmp_path: Path) -> None:
    build(tmp_path, seed=0)
    assert files_digest(tmp_path) == files_digest(tiny)
    other = tmp_path / "other"
    other.mkdir()
    build(other, seed=1)
    assert files_digest(other)[0] != files_digest(tiny)[0]


def test_the_keys_are_those_of_checkpoints_on_the_hub(tiny: Path) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForImageTextToText

    with safe_open(tiny / "model.safetensors", "pt") as file:
        keys = set(file.keys())
    tower = {key for key in keys if key.startswith("vision_tower.")}
    assert tower
    assert all(key.startswith("vision_tower.vision_model.") for key in tower)
    assert "language_model.model.embed_tokens.weight" in keys
    _, loading = AutoModelForImageTextToText.from_pretrained(tiny, output_loading_info=True)
    assert not any(loading[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_only_the_assistants_tokens_are_marked_for_the_loss(tiny: Path) -> None:
    processor = load_processor(tiny)
    messages = [user_message("what is it?"), assistant_message("a pool.")]
    found = processor.tokenizer.apply_chat_template(
        messages, chat_template=processor.chat_template, return_assistant_tokens_mask=True, return_dict=True
    )
    marked = [t for t, m in zip(found["input_ids"], found["assistant_masks"], strict=True) if m]
    assert processor.tokenizer.decode(marked) == " a pool.</s>"


@pytest.mark.parametrize("size", [(96, 96), (200, 100), (60, 300), (500, 375)])
def test_counted_tokens_equal_those_of_the_processor(tiny: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    processor = load_processor(tiny)
    messages = [user_message("Fill in the blank: h\u00f4tel {}"), assistant_message("a pool.")]
    text = processor.apply_chat_template(messages, tokenize=False)
    inputs = processor(text=text, images=Image.new("RGB", size), return_tensors="pt", add_special_tokens=False)
    assert TokenCounter(tiny).count(messages, [size]) == inputs["input_ids"].shape[1]
