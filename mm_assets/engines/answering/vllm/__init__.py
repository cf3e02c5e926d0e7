"""Answers by vLLM: renderers prepare images on CPUs, engines answer, and requests that crash an engine are found.

Code that transformers needs too stands one folder above.
"""
