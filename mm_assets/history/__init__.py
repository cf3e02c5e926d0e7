"""`lineage.lance`: what was made, when, from what; how a step begins, and how it publishes.

Reads and writes of the history enter here; rules about records that need no table stand in lineage.
"""
