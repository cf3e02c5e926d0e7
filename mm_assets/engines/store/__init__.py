"""Folder or bucket behind one `Place`; which of the two it is, is asked in this room alone.

Enters: what speaks to a file system or to S3. It knows settings, refusals and pace, and nothing of Lance or images.
"""
