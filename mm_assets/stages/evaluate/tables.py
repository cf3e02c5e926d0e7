"""The columns of `evaluations.lance`: one row per evaluation and held-out image."""

from typing import TYPE_CHECKING

import pyarrow as pa

from mm_assets.catalog import BASE_MODEL, LLAVA_CHECKPOINT, SFT_DATASET
from mm_assets.engines.lake.fields import schema_of
from mm_assets.lineage.columns import Column, Kind, Source, handed_on, sources
from mm_assets.stages.curate.tables import SFT_COLUMNS
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS

if TYPE_CHECKING:
    import lance

EVALUATIONS = "evaluations"

_CHALLENGER, _BASE = sources(LLAVA_CHECKPOINT.key, "digest"), sources(BASE_MODEL.key, "digest")
_PICTURES = sources(SFT_DATASET.key, "images")
_ASKED = sources(SFT_DATASET.key, "images", "messages")
_BY_NAME = {column.name: column for column in IMAGES_COLUMNS}


def _answers(side: str, model: tuple[Source, ...]) -> list[Column]:
    """What one of the two models answered."""
    kinds = {
        "score": (
            pa.float32(),
            f"The {side}'s score: 1 for the right label, else 0; for a caption, its token accuracy.",
        ),
        "label": (pa.string(), f"What the {side} answered; null for a caption."),
        "confidence": (pa.float32(), f"Confidence of the {side}'s label; null for a caption."),
    }
    return [Column(f"{side}_{name}", kind, says, (*_ASKED, *model)) for name, (kind, says) in kinds.items()]


EVALUATIONS_COLUMNS = (
    # Of the evaluation and the image.
    Column("id", pa.string(), "Digest of what makes the row unique.", _PICTURES, Kind.KEY),
    Column(
        "evaluation_id",
        pa.string(),
        "Digest of the models, the examples and the settings.",
        (*_CHALLENGER, *_PICTURES),
    ),
    Column("challenger", pa.string(), "Digest of the model that was trained.", _CHALLENGER),
    # The base before the first promotion, later an earlier challenger.
    Column(
        "champion",
        pa.string(),
        "Digest of the production model before; before the first promotion, of the base model.",
        _BASE,
    ),
    Column(
        "promoted",
        pa.bool_(),
        "Whether the challenger became the production model.",
        (*sources(SFT_DATASET.key, "label", "caption"), *_CHALLENGER, *_BASE),
    ),
    Column(
        "production",
        pa.string(),
        "Digest of the production model afterwards; null where there is none.",
        _CHALLENGER,
    ),
    *handed_on(SFT_DATASET.key, SFT_COLUMNS, "task"),
    _BY_NAME["image_id"].of_another(*_PICTURES),
    _BY_NAME["sha256"].of_another(*_PICTURES),
    *handed_on(SFT_DATASET.key, SFT_COLUMNS, "label", "caption"),
    *_answers("challenger", _CHALLENGER),
    *_answers("champion", _BASE),
    Column("error", pa.string(), "Why a model gave no answer; null where both did.", _ASKED),
    Column("at", pa.timestamp("us", tz="UTC"), "When it was judged."),
)
EVALUATIONS_SCHEMA = schema_of(EVALUATIONS_COLUMNS)


def current_production(ds: "lance.LanceDataset") -> str | None:
    """Digest of the model in production, as the newest evaluation left it; None before the first promotion."""
    rows = ds.to_table(columns=["production", "at"]).sort_by([("at", "descending")])
    return rows["production"][0].as_py() if rows.num_rows else None
