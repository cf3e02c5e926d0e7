"""Dagster's keys of the catalog's assets; with them a stage names its inputs without importing other stages."""

import dagster as dg

from mm_assets.catalog import Asset


def asset_key(asset: Asset) -> dg.AssetKey:
    """The Dagster key of a row of the catalog."""
    return dg.AssetKey.from_user_string(asset.key)
