"""A column for each score of an image, and groups of near-duplicates.

A scorer enters here; what a score is used for stands in curate.
"""
