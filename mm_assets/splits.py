"""Which split an example belongs to: decided once, by a hash, so that it never moves as the table grows."""

import hashlib

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Upper ends of the shares: 65 / 10 / 25.
SHARES = ((TRAIN, 0.65), (VALIDATION, 0.75), (TEST, 1.0))


def place_of(name: str) -> float:
    """A place in [0, 1) that a name always has, and that says nothing else of it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def split_of(first_group_id: str) -> str:
    """The split of everything that was first seen in this near-duplicate group."""
    place = place_of(first_group_id)
    return next(name for name, end in SHARES if place < end)
