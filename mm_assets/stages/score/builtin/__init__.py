"""The scorers that come with the package: one a file, each named in `registry.BUILT_IN` by its import path."""
