"""The scorers that come with the package, one a file.

A scorer enters here with one line in `registry.BUILT_IN`: its import path, as a user's own has one.
"""
