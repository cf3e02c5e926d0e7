"""The columns of `evaluations.lance`: one row per evaluation and held-out image."""

import lance
import pyarrow as pa

from mm_assets.engines.lake.tables import key_field

EVALUATIONS = "evaluations"

EVALUATIONS_SCHEMA = pa.schema(
    [
        key_field("id"),  # evaluation and image
        pa.field("evaluation_id", pa.string()),  # digest of models, examples and settings
        pa.field("challenger", pa.string()),  # digest of the model that was trained
        pa.field("champion", pa.string()),  # digest of the production model before (the base where there was none)
        pa.field("promoted", pa.bool_()),
        pa.field("production", pa.string()),  # digest of the production model after; null where there is none
        pa.field("task", pa.string()),  # label | caption: what both were asked
        pa.field("image_id", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("label", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("challenger_score", pa.float32()),  # 1 for the right label, else 0; of a caption, its token accuracy
        pa.field("challenger_label", pa.string()),  # null for a caption, as the confidence
        pa.field("challenger_confidence", pa.float32()),
        pa.field("champion_score", pa.float32()),
        pa.field("champion_label", pa.string()),
        pa.field("champion_confidence", pa.float32()),
        pa.field("error", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)


def current_production(ds: lance.LanceDataset) -> str | None:
    """Digest of the model in production, as the newest evaluation left it; None before the first promotion."""
    rows = ds.to_table(columns=["production", "at"]).sort_by([("at", "descending")])
    return rows["production"][0].as_py() if rows.num_rows else None
