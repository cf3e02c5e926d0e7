"""Folders, buckets and manifests, with all that may be wrong in them."""
