"""What the measurements share: meters, drivers without Dagster, made-up lakes, and the rivals' own ways.

What enters: code that at least one script of `bench/` needs, and that measures nothing by itself.
"""
