"""The checkpoint: the base model, fine-tuned on the dataset's examples.

This stage decides what to train on and when to train again; engines/training does it.
"""
