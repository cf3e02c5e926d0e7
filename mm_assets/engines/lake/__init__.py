"""Lance: tables, commits that are made exactly once, rows, cells, versions and files.

Only this folder knows how Lance stores things. It knows no asset and no stage.
"""
