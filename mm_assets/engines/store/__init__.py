"""Folder or bucket: how bytes are listed, read, written and removed, whichever it is.

The only folder that talks to S3; it knows no table and no model.
"""
