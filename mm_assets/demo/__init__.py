"""The data of the embedded default: drawn pictures, and a tiny LLaVA with random weights.

Nothing else enters; whoever has data and a model of their own needs none of it.
"""
