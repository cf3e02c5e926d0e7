"""Where images come from: a folder, a bucket, or a list of uris.

Enters: a class with `opened`, `place`, `list` and `read` (the protocol `Source`), and its line in `opening.KINDS`.
"""
