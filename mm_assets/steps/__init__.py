"""Dagster's side of one step, the same for every asset: materialize, checks, gates, events, metadata.

Only dagster_private.py uses what Dagster keeps private. What an asset does is in its stage.
"""
