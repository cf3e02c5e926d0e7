"""The columns of `bundles.lance`: one row per bundle."""

import pyarrow as pa

from mm_assets.catalog import EVALUATION
from mm_assets.engines.lake.fields import schema_of
from mm_assets.lineage.columns import Column, Kind, sources

BUNDLES = "bundles"

_JUDGED = sources(EVALUATION.key, "production", "challenger_score", "champion_score")
_MODEL = sources(EVALUATION.key, "production")

BUNDLES_COLUMNS = (
    Column(
        "id",
        pa.string(),
        "Digest of the model and of the texts beside it, 16 hex digits.",
        _JUDGED,
        Kind.KEY,
    ),
    Column("model_digest", pa.string(), "Digest of the model in the bundle.", _MODEL),
    Column("recipe", pa.string(), "JSON: what the bundle was made from, and the size of each file in it.", _JUDGED),
    Column("sha256", pa.string(), "SHA-256 of the tar.gz.", _JUDGED),
    Column("num_bytes", pa.int64(), "Bytes of the tar.gz.", _JUDGED),
    Column("uri", pa.string(), "Where the tar.gz lies, relative to the lake.", _MODEL),
    Column("uploaded_to", pa.string(), "Where it was uploaded; null where it was not.", _MODEL),
    Column("properties", pa.string(), "JSON: serving.properties."),
    Column("card", pa.string(), "The model card, README.md.", _JUDGED),
    Column("run_id", pa.string(), "The run that wrote the row."),
    Column("created_at", pa.timestamp("us", tz="UTC"), "When the row was written."),
)
BUNDLES_SCHEMA = schema_of(BUNDLES_COLUMNS)
