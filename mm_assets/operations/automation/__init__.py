"""When the graph runs by itself: conditions of assets, sensors, and the decision to train.

What is worth doing is decided in files without Dagster; the sensors ask them.
"""
