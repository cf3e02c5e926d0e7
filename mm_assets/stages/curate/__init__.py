"""From scored images to chat examples: who becomes one, with what words, in which split, and why not.

How scores are computed stands in score; what is trained on, in finetune.
"""
