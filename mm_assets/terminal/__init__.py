"""What a person sees in a terminal of a run of the whole graph: `python -m mm_assets.terminal`, which is `make demo`.

What enters: how a run is shown. What the command line reads from a lake stands in `cli.py`.
"""
