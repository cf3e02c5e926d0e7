"""The new checkpoint against the model in production, on held-out examples, and the promotion.

A model is promoted here, and nowhere else.
"""
