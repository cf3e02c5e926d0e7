"""The bundle of the promoted model: its weights, card and request, packed and uploaded.

The server stands in operations/serve.
"""
