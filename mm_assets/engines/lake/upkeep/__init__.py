"""What keeps Lance's tables in shape: old versions and orphans, small files, indexes.

Each works beside running writers and may be cut off anywhere; when, and on what, operations/upkeep decides.
"""
