"""Care of Lance's tables: removal of old versions and orphans, compaction of small files, indexes.

Each works beside running writers and may be killed at any point. When and on which table: operations/upkeep decides.
"""
