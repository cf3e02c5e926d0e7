"""Build a tiny LLaVA-NeXT with random weights, offline, in seconds: the embedded default's base model."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from mm_assets.chat import IMAGE_TOKEN, MISTRAL_TEMPLATE
from mm_assets.engines.models.weights import name_keys_for_vllm

PICTURE = 48  # pixels a side, of one tile
PATCH = 16
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", IMAGE_TOKEN]
VOCABULARY = 512
# What the byte-level BPE learns its merges from; any other text is still encoded, byte by byte.
CORPUS = [
    "Fill in the blank: this is a photo of a {}",
    "this is a photo of a pool.",
    "this is a photo of a bedroom, bathroom, lobby, restaurant, gym, beach, garden.",
    "Answer with one of: kitchen, living room, dining room, office, terrace, spa, corridor.",
    "[INST] Describe the picture in a few words. [/INST]",
]


def build(folder: Path, seed: int) -> None:
    """Write model, tokenizer, processor and chat template into a folder; about 1.6 million parameters.

    The recipe (sizes, layers, 21 image tokens of a 48 x 48 picture) is one that learns the drawn pictures within
    minutes on a CPU; a smaller picture or patch did not.
    """
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    _processor(tokenizer).save_pretrained(folder)
    model = LlavaNextForConditionalGeneration(_config(tokenizer))
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    name_keys_for_vllm(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": IMAGE_TOKEN},
    )


def _processor(tokenizer: PreTrainedTokenizerFast) -> LlavaNextProcessor:
    image_processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": PICTURE},
        crop_size={"height": PICTURE, "width": PICTURE},
        image_grid_pinpoints=[[PICTURE, PICTURE]],
    )
    return LlavaNextProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=MISTRAL_TEMPLATE,
    )


def _config(tokenizer: PreTrainedTokenizerFast) -> LlavaNextConfig:
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PICTURE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        sliding_window=None,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_grid_pinpoints=[[PICTURE, PICTURE]],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
