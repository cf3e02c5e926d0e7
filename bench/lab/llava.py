"""Models to measure with: nothing is downloaded, and random weights compute for as long as trained ones."""

import tempfile
from pathlib import Path

from mm_assets.chat import IMAGE_TOKEN, MISTRAL_TEMPLATE

SIDE = 336
# Of llava-hf/llava-v1.6-mistral-7b-hf: the shapes into which a photo is cut.
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def build(size: str, folder: Path) -> None:
    """Write a LLaVA-NeXT with random weights: `tiny` (1.6 million parameters) or `7b` (the shape of Mistral-7B's)."""
    if size == "tiny":
        from mm_assets.demo.tiny_llava import build as build_tiny

        build_tiny(folder, seed=0)
    else:
        _build_7b(folder)


def _build_7b(folder: Path) -> None:
    import torch
    from transformers import (
        AutoTokenizer,
        CLIPVisionConfig,
        GenerationConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
        MistralConfig,
    )

    from mm_assets.engines.models.weights import name_keys_for_vllm

    with tempfile.TemporaryDirectory() as tiny:
        build("tiny", Path(tiny))
        tokenizer = AutoTokenizer.from_pretrained(tiny)  # few words, but a prompt is images for the most part
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS
    )
    LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=MISTRAL_TEMPLATE,
    ).save_pretrained(folder)
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=SIDE,
        patch_size=14,
        projection_dim=768,
    )
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = MistralConfig(vocab_size=32_064, sliding_window=None, max_position_embeddings=32_768, rope_theta=1e6, **ids)
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=576,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlavaNextForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(folder)
    name_keys_for_vllm(folder)
