"""From the source to images: the listing of objects, and a row for each that can be decoded.

Each kind of source is read in engines/sources.
"""
