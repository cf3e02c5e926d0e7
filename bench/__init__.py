"""Measurements of the project, beside what one would otherwise take: `make bench`, or `python -m bench.NAME`."""
