"""From scored images to chat examples: which images become one, with which words, in which split.

Scores are computed in score; examples are trained on in finetune.
"""
