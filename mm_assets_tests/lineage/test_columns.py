"""Column lineage names columns that exist, of assets that come before."""

import pyarrow as pa
import pytest

from mm_assets.definitions import build
from mm_assets.engines.lake.fields import schema_of
from mm_assets.engines.models.registry import COLUMNS as MODELS_COLUMNS
from mm_assets.lineage.columns import Column, sentence_of, sources_of
from mm_assets.lineage.columns import sources as columns_from
from mm_assets.scoring import scorer
from mm_assets.settings import ScoreSettings, load_settings
from mm_assets.stages.curate.tables import sft_columns
from mm_assets.stages.evaluate.tables import EVALUATIONS_COLUMNS
from mm_assets.stages.finetune.tables import CHECKPOINT_COLUMNS
from mm_assets.stages.ingest.tables import IMAGES_COLUMNS, OBJECTS_COLUMNS
from mm_assets.stages.predict.tables import PREDICTIONS_COLUMNS
from mm_assets.stages.score.registry import all_scorers
from mm_assets.stages.score.tables import image_columns
from mm_assets.stages.serve.tables import BUNDLES_COLUMNS

# The limits of the default profile.
LIMITED = [
    ("scores/sharpness", "sharpness"),
    ("scores/exposure", "luminance"),
    ("scores/exposure", "clipped"),
    ("scores/entropy", "entropy"),
]
# In the order in which data flows.
COLUMNS = {
    "raw_images": OBJECTS_COLUMNS,
    **image_columns(all_scorers(ScoreSettings()).values()),
    "base_model": MODELS_COLUMNS,
    "sft_dataset": sft_columns(LIMITED),
    "llava_checkpoint": CHECKPOINT_COLUMNS,
    "evaluation": EVALUATIONS_COLUMNS,
    "batch_predictions": PREDICTIONS_COLUMNS,
    "serving_bundle": BUNDLES_COLUMNS,
}
SOURCES = {asset: sources_of(columns, [column.name for column in columns]) for asset, columns in COLUMNS.items()}
SCHEMAS = {asset: schema_of(columns) for asset, columns in COLUMNS.items()}
# What no other column decides: settings, runs and times.
WITHOUT_SOURCE = {
    "sft_dataset": {"task"},
    "llava_checkpoint": {"kind", "inputs", "run_id", "created_at"},
    "evaluation": {"at"},
    "serving_bundle": {"properties", "run_id", "created_at"},
}


@pytest.fixture
def above() -> dict[str, set[str]]:
    """Everything that an asset is made from."""
    specs = build(load_settings()).resolve_all_asset_specs()
    direct = {spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps} for spec in specs}

    def all_of(asset: str) -> set[str]:
        return direct[asset].union(*map(all_of, direct[asset]))

    return {asset: all_of(asset) for asset in direct}


def test_every_column_and_its_sources_exist(above: dict[str, set[str]]) -> None:
    for asset, columns in SOURCES.items():
        assert set(columns) <= set(SCHEMAS[asset].names), asset
        for column, sources in columns.items():
            assert len(set(sources)) == len(sources) > 0, (asset, column)
            for upstream, name in sources:
                assert upstream in above[asset], (asset, column, upstream)
                assert name in SCHEMAS[upstream].names, (asset, column, upstream, name)


def test_every_asset_is_named_and_every_column_that_has_a_source() -> None:
    assert set(SOURCES) == set(SCHEMAS)
    for asset, schema in SCHEMAS.items():
        if asset not in ("raw_images", "base_model"):  # they read the outside world
            assert set(schema.names) - set(SOURCES[asset]) == WITHOUT_SOURCE.get(asset, set())


def test_flow_order_names_a_source_before_its_reader() -> None:
    order = list(SOURCES)
    for asset, columns in SOURCES.items():
        assert all(order.index(upstream) < order.index(asset) for found in columns.values() for upstream, _ in found)


@scorer("1", watermark=pa.float32())
def watermark(image: object) -> dict[str, float | int | None]:
    """One of the user's own."""
    return {"watermark": 0.0}


def test_every_column_of_the_project_says_what_it_holds() -> None:
    assert [(asset, c.name) for asset, columns in COLUMNS.items() for c in columns if not c.sentence] == []


def test_an_own_scorers_columns_come_from_the_image() -> None:
    table = image_columns([*all_scorers(ScoreSettings()).values(), watermark])
    names = [column.name for columns in table.values() for column in columns]
    found = sources_of(table["scores/watermark"], names)
    own = ("watermark", "watermark_rev", "watermark_error")
    assert found == {name: [("image_table", "image")] for name in own}
    assert sentence_of(table, "scores/watermark", "watermark") is None
    assert sentence_of(table, "image_table", "watermark_rev") == (
        "The revision of watermark that computed the cell; null: not computed."
    )


def test_of_a_shared_table_an_asset_has_its_own_columns_only() -> None:
    table = image_columns(all_scorers(ScoreSettings()).values())
    names = [*(column.name for column in IMAGES_COLUMNS), "sharpness", "watermark"]
    assert sources_of(table["scores/sharpness"], names) == {"sharpness": [("image_table", "image")]}
    assert "sharpness" not in sources_of(table["image_table"], names)


def test_a_page_shows_what_every_column_of_its_table_holds() -> None:
    table = {
        "rows": [Column("id", pa.string(), "Of the row."), Column("note", pa.string(), "As it was written.")],
        "cells": [Column("note", pa.string(), "As it is now.", columns_from("rows", "note"))],
    }
    assert sentence_of(table, "rows", "note") == "As it was written."
    assert sentence_of(table, "cells", "note") == "As it is now."
    assert sentence_of(table, "cells", "id") == "Of the row."
    assert sentence_of(table, "cells", "somebody_elses") is None
    # What a scorer left that the profile does not name any more.
    assert sentence_of(table, "rows", "gone_error") == "Why gone failed on the image; null where it did not."


def test_why_an_image_is_left_out_leads_to_the_scores_that_the_profile_limits() -> None:
    by_name = {column.name: column.made_from for column in sft_columns([("scores/watermark", "watermark")])}
    assert ("scores/watermark", "watermark") in by_name["left_out"]
    assert not [asset for asset, _ in by_name["left_out"] if asset == "scores/sharpness"]
