"""The columns of `bundles.lance`: one row per bundle."""

import pyarrow as pa

from mm_assets.engines.lake.tables import key_field

BUNDLES = "bundles"

BUNDLES_SCHEMA = pa.schema(
    [
        key_field("id"),  # digest of the model and of what is packed beside it
        pa.field("model_digest", pa.string()),
        pa.field("recipe", pa.string()),  # JSON: what the bundle was made from, and its files
        pa.field("sha256", pa.string()),  # of the file
        pa.field("num_bytes", pa.int64()),  # of the file
        pa.field("uri", pa.string()),  # relative to the lake, which can be moved
        pa.field("uploaded_to", pa.string()),  # s3 uri; null where it was not uploaded
        pa.field("properties", pa.string()),  # JSON: serving.properties
        pa.field("card", pa.string()),  # README.md
        pa.field("run_id", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
