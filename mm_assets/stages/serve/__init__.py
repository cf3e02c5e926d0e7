"""The bundle of the promoted model: its weights, card and request, packed and uploaded.

The server of a bundle is in operations/serve.
"""
