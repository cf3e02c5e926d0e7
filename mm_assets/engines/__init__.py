"""The outside systems, a folder for each. The project reaches each of them through its folder alone.

Code that does not talk to Lance, a store, a source, Ray, a model or a trainer stands elsewhere. Never Dagster.
"""
