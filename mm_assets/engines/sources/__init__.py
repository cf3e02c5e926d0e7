"""The sources of images: a folder, a bucket, or a manifest that lists uris.

Enters: a class with `from_setting` (the protocol `Kind`) and `place`, `list`, `read` (`Source`), and its line in
`opening.KINDS`.
"""
