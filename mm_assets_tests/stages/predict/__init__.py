"""Answers that are missing, joined and counted."""
