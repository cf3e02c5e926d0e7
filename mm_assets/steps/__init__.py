"""Dagster's side of one step, the same for every asset: materialize, checks, gates, events, metadata.

What Dagster keeps private is used in dagster_private.py alone; what an asset does stands in its stage.
"""
