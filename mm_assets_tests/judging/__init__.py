"""Verdicts and statistics, as plain functions."""
