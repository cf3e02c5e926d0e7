"""From the source to images: the listing of objects, and a row for each that can be decoded.

How a kind of source is read stands in engines/sources.
"""
