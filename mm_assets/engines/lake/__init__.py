"""Lance: tables, commits that are made exactly once, rows, cells, versions and files.

The only folder that knows how Lance stores things; it knows no asset, and no stage.
"""
