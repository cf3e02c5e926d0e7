"""Traces of every kind of thing, in lakes of today and of the past."""
