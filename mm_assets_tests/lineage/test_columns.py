"""Column lineage names columns that exist, of assets that come before."""

import pyarrow as pa
import pytest

from mm_assets.definitions import build
from mm_assets.engines.models.registry import SCHEMA as MODELS_SCHEMA
from mm_assets.lineage.columns import SOURCES, column_sources
from mm_assets.settings import ScoreSettings, load_settings
from mm_assets.stages.curate.tables import SFT_SCHEMA
from mm_assets.stages.evaluate.tables import EVALUATIONS_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES_SCHEMA, OBJECTS_SCHEMA
from mm_assets.stages.predict.tables import PREDICTIONS_SCHEMA
from mm_assets.stages.score.grouping import GROUP_FIELDS
from mm_assets.stages.score.registry import all_scorers
from mm_assets.stages.serve.tables import BUNDLES_SCHEMA

SCHEMAS = {
    "raw_images": OBJECTS_SCHEMA,
    "image_table": IMAGES_SCHEMA,
    **{scorer.asset: pa.schema(scorer.fields()) for scorer in all_scorers(ScoreSettings()).values()},
    "scores/near_duplicates": pa.schema(GROUP_FIELDS),
    "base_model": MODELS_SCHEMA,
    "sft_dataset": SFT_SCHEMA,
    "llava_checkpoint": MODELS_SCHEMA,
    "evaluation": EVALUATIONS_SCHEMA,
    "batch_predictions": PREDICTIONS_SCHEMA,
    "serving_bundle": BUNDLES_SCHEMA,
}
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


def test_an_own_scorers_columns_come_from_the_image() -> None:
    columns = [*IMAGES_SCHEMA.names, "sharpness", "sharpness_rev", "group_id", "watermark", "watermark_rev"]
    assert column_sources("scores/own", columns) == {
        "watermark": [("image_table", "image")],
        "watermark_rev": [("image_table", "image")],
    }


def test_of_a_shared_table_an_asset_has_its_own_columns_only() -> None:
    columns = [*IMAGES_SCHEMA.names, "sharpness", "watermark"]
    assert column_sources("scores/sharpness", columns) == {"sharpness": [("image_table", "image")]}
    assert "sharpness" not in column_sources("image_table", columns)
    assert column_sources("base_model", ["digest"]) == {}
    assert column_sources("somebody_elses", ["image"]) == {}
