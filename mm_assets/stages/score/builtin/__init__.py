"""The scorers of the package, one in each file.

A new one gets one line in `registry.BUILT_IN`: its import path, as a user's own scorer has in the settings.
"""
