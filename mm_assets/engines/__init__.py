"""The outside systems, a folder for each; what this project asks of one goes through its folder alone.

What does not talk to Lance, a store, a source, Ray, a model or a trainer stands elsewhere. Never Dagster.
"""
