"""Pictures and Markdown for the UI: contact sheets, plots, tables; pure functions.

What one stage shows is in that stage's previews.py.
"""
