"""Answers, their confidence and what they took, against plain forward passes."""
