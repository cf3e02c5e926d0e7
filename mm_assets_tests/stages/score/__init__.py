"""Scores, groups of near-duplicates, and scorers of one's own."""
