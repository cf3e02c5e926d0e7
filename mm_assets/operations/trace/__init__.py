"""`mm-assets trace`: where a thing in the lake comes from, and what used it.

It only reads. Each kind of thing has a file in kinds/; lines.py says them to people.
"""
