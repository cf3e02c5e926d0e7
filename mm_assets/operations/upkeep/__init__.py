"""Keeping a lake in shape: compaction, retention, indexes, and what crashes left behind.

It removes only what no version that must stay readable needs.
"""
