"""Pictures and Markdown for the UI: contact sheets, plots, tables; pure functions.

What one stage shows stands in that stage's previews.py.
"""
