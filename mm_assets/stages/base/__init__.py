"""The base model that fine-tuning starts from: built in place, or downloaded at a pinned revision.

How models are stored stands in engines/models.
"""
