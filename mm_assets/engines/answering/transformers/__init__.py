"""Answers by transformers, each worker with a model of its own: labels by likelihood, captions, caption scores.

Code that vLLM needs too stands one folder above.
"""
