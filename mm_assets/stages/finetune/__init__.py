"""The checkpoint: the base model, fine-tuned on the dataset's examples.

What to train on and when to train again stands here; how, in engines/training.
"""
