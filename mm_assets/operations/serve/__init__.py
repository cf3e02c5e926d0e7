"""`mm-assets serve`: a server of the promoted model, or of a bundle, on this machine.

What goes into a bundle is decided in stages/serve.
"""
