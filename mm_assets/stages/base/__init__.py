"""The base model that fine-tuning starts from: built in place, or downloaded at a pinned revision.

Models are stored by engines/models.
"""
