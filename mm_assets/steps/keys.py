"""Dagster's keys of the catalog's assets: so a stage names what it reads without importing that stage."""

import dagster as dg

from mm_assets.catalog import Asset


def asset_key(asset: Asset) -> dg.AssetKey:
    """The key of an asset by its row."""
    return dg.AssetKey(asset.key.split("/"))
