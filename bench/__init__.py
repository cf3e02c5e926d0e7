"""Measurements of the project, beside what one would otherwise take: `make bench`, or `python -m bench.NAME`.

What enters: a script that measures one thing, prints a table and writes JSON; what scripts share stands in `lab/`.
"""
