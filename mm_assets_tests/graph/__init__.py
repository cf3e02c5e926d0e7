"""The whole graph, run as people run it."""
