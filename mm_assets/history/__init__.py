"""The lake's history, `lineage.lance`: its rows, how a step begins, and how it publishes.

Reads and writes of the history stand here. Rules about records that need no table stand in lineage.
"""
