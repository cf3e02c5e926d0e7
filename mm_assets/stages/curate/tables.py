"""The columns of `sft.lance`: one row per image and task, an example or the reason why it is none."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from mm_assets.catalog import BASE_MODEL, IMAGE_TABLE, NEAR_DUPLICATES
from mm_assets.engines.lake.fields import schema_of
from mm_assets.lineage.columns import Column, Kind, Source, handed_on, sources
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS
from mm_assets.stages.score.tables import GROUP_COLUMNS

SFT = "sft"

_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(_PART))])
_IMAGE = pa.struct([("image_id", pa.string()), ("sha256", pa.string())])
_WORDS = sources(IMAGE_TABLE.key, "label", "caption")
_UNUSABLE = sources(IMAGE_TABLE.key, "error", "label", "caption")
_DUPLICATE = sources(NEAR_DUPLICATES.key, "group_id", "first_group_id")

SFT_COLUMNS = (
    Column("example_id", pa.string(), "`<task>:<image_id>`.", sources(IMAGE_TABLE.key, "image_id"), Kind.KEY),
    Column("task", pa.string(), "What is asked: label or caption."),
    Column(
        "images",
        pa.list_(_IMAGE),
        "The images of the example, by id and digest.",
        sources(IMAGE_TABLE.key, "image_id", "sha256"),
    ),
    Column(
        "messages", pa.list_(_MESSAGE), "The conversation in TRL's format; null where the image was left out.", _WORDS
    ),
    *handed_on(IMAGE_TABLE.key, IMAGES_COLUMNS, "label", "caption"),  # of the image, in both tasks
    *handed_on(NEAR_DUPLICATES.key, GROUP_COLUMNS, "group_id"),  # a group never straddles splits
    Column(
        "split",
        pa.string(),
        "train, validation or test; null where it was left out.",
        sources(NEAR_DUPLICATES.key, "first_group_id"),
    ),
    Column(
        "num_tokens",
        pa.int32(),
        "Tokens of the conversation, image tokens included.",
        (*_WORDS, *sources(IMAGE_TABLE.key, "width", "height"), *sources(BASE_MODEL.key, "digest")),
    ),
    Column(
        "left_out",
        pa.string(),
        "Why it is no example, as `<reason>: <detail>`; null for an example.",
        (*_UNUSABLE, *_DUPLICATE),
    ),
)
SFT_SCHEMA = schema_of(SFT_COLUMNS)


def sft_columns(limited: Sequence[Source]) -> list[Column]:
    """The columns of a dataset that leaves images out by limits of these columns of scores."""
    *others, left_out = SFT_COLUMNS
    return [*others, replace(left_out, made_from=(*_UNUSABLE, *limited, *_DUPLICATE))]
