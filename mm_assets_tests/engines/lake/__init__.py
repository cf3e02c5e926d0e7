"""Commits among strangers, rows, cells, changes, and what a read touches."""
