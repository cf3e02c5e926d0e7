"""Dagster's side of a step."""
