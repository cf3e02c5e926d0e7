"""An answer for every image, by the latest or the promoted model.

Models answer in engines/answering.
"""
