"""A column for each score of an image, and groups of near-duplicates.

A new scorer is added here; scores are used in curate.
"""
