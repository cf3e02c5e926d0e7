"""An answer for every image, by the latest or the promoted model.

How a model answers stands in engines/answering.
"""
