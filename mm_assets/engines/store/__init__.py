"""Folder or bucket behind one `Place`; only this room tells the two apart.

Enters: code that speaks to a file system or to S3. It knows settings, refusals and pace, but not Lance or images.
"""
