"""The columns of `predictions.lance`: one row per image content, model and prompt."""

import hashlib
import json

import pyarrow as pa

from mm_assets.engines.lake.tables import key_field

PREDICTIONS = "predictions"

PREDICTIONS_SCHEMA = pa.schema(
    [
        key_field("id"),  # see `prediction_key`
        pa.field("image_id", pa.string()),
        pa.field("sha256", pa.string()),  # null where the object could not even be read
        pa.field("model_digest", pa.string()),
        pa.field("prompt_digest", pa.string()),  # of prompt, answers and decoding
        pa.field("answer", pa.string()),  # words that a label stands in, or a caption as the model wrote it
        pa.field("label", pa.string()),  # null for a caption
        pa.field("confidence", pa.float32()),
        # label_share | path_probability | mean_token_probability: what the confidence is (`engines/questions.py`); one
        # kind says nothing beside another.
        pa.field("confidence_kind", pa.string()),
        pa.field("error", pa.string()),
    ]
)


def prediction_key(image_id: str, sha256: str | None, model_digest: str, prompt_digest: str) -> str:
    """Key of a prediction: a digest of image, bytes, model and prompt, as 32 hex digits."""
    parts = json.dumps([image_id, sha256, model_digest, prompt_digest])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
