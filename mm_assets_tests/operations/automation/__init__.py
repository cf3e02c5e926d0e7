"""Conditions, sensors and the decision to train."""
