"""Models as files in the lake: the registry, their digests, processors, prompts, bundles.

What computes with a model stands in answering and training.
"""
