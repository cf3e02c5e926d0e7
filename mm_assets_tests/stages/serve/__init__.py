"""Bundles, their cards and their uploads."""
