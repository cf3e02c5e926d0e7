"""The columns of `predictions.lance`: one row per image content, model and prompt."""

import pyarrow as pa

from mm_assets.engines.lance_tables import key_field

PREDICTIONS = "predictions"

PREDICTIONS_SCHEMA = pa.schema(
    [
        key_field("id"),  # digest of the next four
        pa.field("image_id", pa.string()),
        pa.field("sha256", pa.string()),  # null where the object could not even be read
        pa.field("model_digest", pa.string()),
        pa.field("prompt_digest", pa.string()),  # of prompt, answers and decoding
        pa.field("answer", pa.string()),
        pa.field("label", pa.string()),
        pa.field("confidence", pa.float32()),  # the answer's share of all allowed answers' likelihood
        pa.field("error", pa.string()),
    ]
)
