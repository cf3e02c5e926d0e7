"""Verdicts and statistics that several stages need: pure functions on numbers and columns.

A verdict of one stage alone stands in that stage's verdicts.py.
"""
