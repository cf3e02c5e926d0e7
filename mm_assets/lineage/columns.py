"""Which column is made from which: what Dagster's UI shows as column lineage."""

from collections.abc import Sequence

Source = tuple[str, str]  # asset, column
Sources = dict[str, list[Source]]

LISTING, IMAGES, PHASH, GROUPS = "raw_images", "image_table", "scores/phash", "scores/near_duplicates"
BASE, DATASET, CHECKPOINT, EVALUATION = "base_model", "sft_dataset", "llava_checkpoint", "evaluation"

_PIXELS = [(IMAGES, "image")]
_HASHES = [(PHASH, "phash")]
_LEARNED = [(DATASET, "messages"), (DATASET, "images"), (DATASET, "split")]
_MODEL = [*_LEARNED, (BASE, "digest")]
_ASKED = [(DATASET, "images"), (DATASET, "messages")]
_ANSWERING = [(EVALUATION, "challenger"), (EVALUATION, "production")]
_PROMOTED = [(EVALUATION, name) for name in ("production", "challenger_score", "champion_score")]
_JUDGED = [(DATASET, "label"), (DATASET, "caption"), (CHECKPOINT, "digest"), (BASE, "digest")]


def _answers(side: str, model: list[Source]) -> Sources:
    return {f"{side}_{name}": [*_ASKED, *model] for name in ("score", "label", "confidence")}


def _scored(scorer: str, *columns: str) -> Sources:
    return dict.fromkeys((*columns, f"{scorer}_rev", f"{scorer}_error"), _PIXELS)


def _same(asset: str, *columns: str) -> Sources:
    """Columns that are handed on as they are."""
    return {column: [(asset, column)] for column in columns}


# In the order in which data flows. What comes from outside, and what only tells of a commit (its run, its time), has no
# source.
SOURCES: dict[str, Sources] = {
    LISTING: {},
    IMAGES: {
        **_same(LISTING, "image_id", "source_uri", "etag", "label", "caption"),
        **{name: [(LISTING, "source_uri")] for name in ("sha256", "image", "format", "width", "height")},
        "num_bytes": [(LISTING, "source_uri"), (LISTING, "size")],
        "error": [(LISTING, "source_uri"), (LISTING, "error")],
    },
    "scores/sharpness": _scored("sharpness", "sharpness"),
    "scores/exposure": _scored("exposure", "luminance", "clipped"),
    "scores/entropy": _scored("entropy", "entropy"),
    PHASH: _scored("phash", "phash"),
    GROUPS: dict.fromkeys(("group_id", "first_group_id", "near_duplicates_rev"), _HASHES),
    BASE: {},
    DATASET: {
        "example_id": [(IMAGES, "image_id")],
        "images": [(IMAGES, "image_id"), (IMAGES, "sha256")],
        "messages": [(IMAGES, "label"), (IMAGES, "caption")],
        **_same(IMAGES, "label", "caption"),
        **_same(GROUPS, "group_id"),
        "split": [(GROUPS, "first_group_id")],
        "num_tokens": [(IMAGES, "label"), (IMAGES, "caption"), (IMAGES, "width"), (IMAGES, "height"), (BASE, "digest")],
        "left_out": [
            *((IMAGES, name) for name in ("error", "label", "caption")),
            ("scores/sharpness", "sharpness"),
            ("scores/exposure", "luminance"),
            ("scores/exposure", "clipped"),
            ("scores/entropy", "entropy"),
            (GROUPS, "group_id"),
            (GROUPS, "first_group_id"),
        ],
    },
    CHECKPOINT: {
        **dict.fromkeys(("digest", "num_bytes", "metrics"), _MODEL),
        "name": [(BASE, "name")],
        "recipe": [(DATASET, "messages"), (BASE, "digest")],
        "recipe_digest": [(DATASET, "messages"), (BASE, "digest")],
    },
    EVALUATION: {
        "evaluation_id": [(CHECKPOINT, "digest"), (DATASET, "images")],
        "challenger": [(CHECKPOINT, "digest")],
        "champion": [(BASE, "digest")],  # before the first promotion; then a challenger of before
        "promoted": _JUDGED,
        "production": [(CHECKPOINT, "digest")],
        **{name: [(DATASET, "images")] for name in ("id", "image_id", "sha256")},
        **_same(DATASET, "task", "label", "caption"),
        **_answers("challenger", [(CHECKPOINT, "digest")]),
        **_answers("champion", [(BASE, "digest")]),
        "error": _ASKED,
    },
    "batch_predictions": {
        "id": [(IMAGES, "image_id"), (IMAGES, "sha256"), *_ANSWERING],
        **_same(IMAGES, "image_id", "sha256"),
        "model_digest": _ANSWERING,
        "prompt_digest": [(DATASET, "messages")],
        **{name: [*_PIXELS, *_ANSWERING] for name in ("answer", "label", "confidence")},
        "confidence_kind": [(DATASET, "messages")],
        "error": [(IMAGES, "error"), (IMAGES, "image")],
    },
    "serving_bundle": {
        **dict.fromkeys(("id", "recipe", "card", "sha256", "num_bytes"), _PROMOTED),
        **{name: [(EVALUATION, "production")] for name in ("model_digest", "uri", "uploaded_to")},
    },
}


def column_sources(asset: str, columns: Sequence[str]) -> Sources:
    """The sources of some columns of an asset, without those that have none.

    A scorer that is not named here is its user's own: each of its columns is made from the image. Columns that are
    known to be another asset's are left out, for all scores stand in one table.
    """
    if asset in SOURCES:
        return {column: SOURCES[asset][column] for column in columns if column in SOURCES[asset]}
    if not asset.startswith("scores/"):
        return {}
    others = [
        sources for asset_key, sources in SOURCES.items() if asset_key == IMAGES or asset_key.startswith("scores/")
    ]
    return {column: _PIXELS for column in columns if not any(column in sources for sources in others)}
