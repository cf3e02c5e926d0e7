"""Dagster's UI in a real browser: what people see and click."""
