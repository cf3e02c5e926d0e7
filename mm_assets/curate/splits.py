"""Which split an example belongs to: decided once, by a hash, so that it never moves as the table grows."""

import hashlib

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Upper ends of the shares: 65 / 10 / 25.
SHARES = ((TRAIN, 0.65), (VALIDATION, 0.75), (TEST, 1.0))


def split_of(first_group_id: str) -> str:
    """The split of everything that was first seen in this near-duplicate group."""
    place = int.from_bytes(hashlib.sha256(first_group_id.encode()).digest()[:8], "big") / 2**64
    return next(name for name, end in SHARES if place < end)
