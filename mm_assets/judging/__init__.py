"""Verdicts and statistics that several stages need: pure functions on numbers and columns.

A verdict that only one stage needs is in that stage's verdicts.py.
"""
