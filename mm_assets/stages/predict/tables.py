"""The columns of `predictions.lance`: one row per image content, model and prompt."""

import hashlib
import json

import pyarrow as pa

from mm_assets.catalog import EVALUATION, IMAGE_TABLE, SFT_DATASET
from mm_assets.engines.lake.fields import schema_of
from mm_assets.lineage.columns import Column, Kind, handed_on, sources
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS

PREDICTIONS = "predictions"

_MODEL = sources(EVALUATION.key, "challenger", "production")
_ANSWER = (*sources(IMAGE_TABLE.key, "image"), *_MODEL)
_WORDS = sources(SFT_DATASET.key, "messages")

PREDICTIONS_COLUMNS = (
    # See `prediction_key`.
    Column(
        "id",
        pa.string(),
        "Digest of what makes the row unique.",
        (*sources(IMAGE_TABLE.key, "image_id", "sha256"), *_MODEL),
        Kind.KEY,
    ),
    *handed_on(IMAGE_TABLE.key, IMAGES_COLUMNS, "image_id"),
    Column(
        "sha256",
        pa.string(),
        "SHA-256 of the bytes that the model saw; null where the object could not be read.",
        sources(IMAGE_TABLE.key, "sha256"),
    ),
    Column("model_digest", pa.string(), "The model that answered.", _MODEL),
    Column("prompt_digest", pa.string(), "Digest of the prompt, the answers it allows, and the decoding.", _WORDS),
    # A text with the label in it, or a caption as the model wrote it.
    Column("answer", pa.string(), "What the model answered.", _ANSWER),
    Column("label", pa.string(), "The label of the answer; null for a caption.", _ANSWER),
    Column(
        "confidence",
        pa.float32(),
        "How sure the model is, between 0 and 1; what it measures is in confidence_kind.",
        _ANSWER,
    ),
    # Confidences of two kinds cannot be compared.
    Column(
        "confidence_kind",
        pa.string(),
        "For a label: its answer's share of all answers' likelihood (label_share), or the product of its tokens' "
        "probabilities, each among the allowed ones (path_probability). For a caption: the geometric mean of its "
        "tokens' probabilities (mean_token_probability).",
        _WORDS,
    ),
    Column(
        "error",
        pa.string(),
        "Why there is no answer, as `<reason>: <detail>`; null where there is one.",
        sources(IMAGE_TABLE.key, "error", "image"),
    ),
)
PREDICTIONS_SCHEMA = schema_of(PREDICTIONS_COLUMNS)


def prediction_key(image_id: str, sha256: str | None, model_digest: str, prompt_digest: str) -> str:
    """Key of a prediction: a digest of image, bytes, model and prompt, as 32 hex digits."""
    parts = json.dumps([image_id, sha256, model_digest, prompt_digest])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
