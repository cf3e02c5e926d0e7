"""Where images come from: a folder, a bucket, or a list of uris.

Enters: a class with `from_setting` (the protocol `Kind`) and `place`, `list`, `read` (`Source`), and its line in
`opening.KINDS`.
"""
