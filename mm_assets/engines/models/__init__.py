"""Models as files in the lake: the registry, digests, processors, prompts, bundles.

Code that computes with a model stands in answering and training.
"""
