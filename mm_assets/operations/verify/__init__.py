"""`mm-assets verify`: the lake's history against commits, tags, files, rows and Dagster's events.

It only reads. What must hold stands in rules/.
"""
