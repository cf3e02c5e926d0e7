"""Listings and images, good, bad and changed."""
