"""The columns of `models.lance`, as the checkpoint fills them."""

from dataclasses import replace

from mm_assets.catalog import BASE_MODEL, SFT_DATASET
from mm_assets.engines.models.registry import COLUMNS
from mm_assets.lineage.columns import Source, sources

_BASE = sources(BASE_MODEL.key, "digest")
_LEARNED = (*sources(SFT_DATASET.key, "messages", "images", "split"), *_BASE)
_RECIPE = (*sources(SFT_DATASET.key, "messages"), *_BASE)

_MADE_FROM: dict[str, tuple[Source, ...]] = {
    "digest": _LEARNED,
    "num_bytes": _LEARNED,
    "metrics": _LEARNED,
    "name": sources(BASE_MODEL.key, "name"),
    "recipe": _RECIPE,
    "recipe_digest": _RECIPE,
}

CHECKPOINT_COLUMNS = tuple(replace(column, made_from=_MADE_FROM.get(column.name, ())) for column in COLUMNS)
