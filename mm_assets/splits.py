"""The split of an example: decided once, by a hash, so that it never changes as the table grows."""

import hashlib

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Each split with the upper end of its share: 65 / 10 / 25 percent.
SHARES = ((TRAIN, 0.65), (VALIDATION, 0.75), (TEST, 1.0))


def place_of(name: str) -> float:
    """A number in [0, 1) from the hash of a name, always the same for that name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def split_of(first_group_id: str) -> str:
    """The split of all images whose first near-duplicate group was this one."""
    place = place_of(first_group_id)
    return next(name for name, end in SHARES if place < end)
