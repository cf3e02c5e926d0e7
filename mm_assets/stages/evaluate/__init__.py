"""The new checkpoint against the model in production, on held-out examples; it may be promoted.

The only place that promotes.
"""
