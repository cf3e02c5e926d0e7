"""How each kind of thing is found and followed: images, scores, examples, models, predictions, bundles, versions.

A new kind enters here, with a line in lines.py.
"""
