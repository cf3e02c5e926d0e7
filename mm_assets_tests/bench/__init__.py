"""Tests of the measurements: each runs at its smallest size."""
