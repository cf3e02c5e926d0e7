"""The columns that scorers and the near-duplicate groups add to `images.lance`."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from mm_assets.catalog import IMAGE_TABLE, NEAR_DUPLICATES, SCORES
from mm_assets.engines.lake.fields import field_of
from mm_assets.lineage.columns import Column, sources, state_columns
from mm_assets.scoring import Scorer
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS

_HASHES = sources(SCORES.member("phash"), "phash")

GROUP_COLUMNS = (
    Column(
        "group_id",
        pa.string(),
        "The near-duplicate group of the image now, named after its first member.",
        _HASHES,
    ),
    Column(
        "first_group_id", pa.string(), "The first group of the image: written once, and decides the split.", _HASHES
    ),
    state_columns("near_duplicates", _HASHES)[0],
)
GROUP_FIELDS = [field_of(column) for column in GROUP_COLUMNS]


def columns_of(scorer: Scorer) -> list[Column]:
    """The columns that a scorer fills."""
    made_from = sources(IMAGE_TABLE.key, "image", *scorer.reads)
    values = [Column(name, one.type, one.sentence, made_from) for name, one in scorer.value_columns.items()]
    read = Column(
        scorer.read_column,
        pa.string(),
        f"Digest of the columns that {scorer.name} read beside the image.",
        sources(IMAGE_TABLE.key, *scorer.reads),
    )
    return [*values, *state_columns(scorer.name, made_from), *([read] if scorer.reads else [])]


def image_columns(scorers: Iterable[Scorer]) -> Mapping[str, list[Column]]:
    """The columns of `images.lance` by the asset that fills them."""
    return {
        IMAGE_TABLE.key: list(IMAGES_COLUMNS),
        **{scorer.asset: columns_of(scorer) for scorer in scorers},
        NEAR_DUPLICATES.key: list(GROUP_COLUMNS),
    }
