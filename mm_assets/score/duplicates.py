"""Near-duplicate groups of 64-bit hashes, without comparing all pairs, and names for the groups that last."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np

# Raise it when the same hashes and distance give other groups.
GROUPING_REVISION = "1"
HASH_BITS = 64
# Keys of fewer bits put too many unlike hashes into one bucket.
MIN_KEY_BITS = 16


def components(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """Connected components of "Hamming distance at most `max_distance`".

    Two hashes that differ in d bits agree on at least k of any d + k bands (pigeonhole), so only hashes that agree on
    some k bands are compared; k is the least that makes the bands' key `MIN_KEY_BITS` long.

    Args:
        hashes: shape (n,), uint64.
        max_distance: in bits.

    Returns:
        Shape (n,), int64: the smallest index of each hash's component.
    """
    unique, inverse = np.unique(hashes, return_inverse=True)
    parents = np.arange(len(unique))
    for key in _keys(unique, max_distance):
        order = np.argsort(key, kind="stable")
        for left, right in _pairs_in_runs(key[order]):
            a, b = order[left], order[right]
            near = np.bitwise_count(unique[a] ^ unique[b]) <= max_distance
            for i, j in zip(a[near].tolist(), b[near].tolist(), strict=True):
                _union(parents, i, j)
    roots = np.array([_find(parents, i) for i in range(len(unique))], dtype=np.int64)[inverse]
    _, first, position = np.unique(roots, return_index=True, return_inverse=True)
    return first[position].astype(np.int64)


def _keys(hashes: np.ndarray, max_distance: int) -> Iterator[np.ndarray]:
    kept = next(k for k in range(1, HASH_BITS) if HASH_BITS * k // (max_distance + k) >= MIN_KEY_BITS)
    edges = np.linspace(0, HASH_BITS, max_distance + kept + 1).astype(int)
    masks = [((1 << int(high - low)) - 1) << int(low) for low, high in pairwise(edges)]
    for chosen in combinations(masks, kept):
        yield hashes & np.uint64(sum(chosen))


def _pairs_in_runs(key: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of positions with equal keys in a sorted array, one offset after the other."""
    offset = 1
    left = np.flatnonzero(key[:-1] == key[1:])
    while len(left):
        yield left, left + offset
        offset += 1
        left = left[left + offset < len(key)]
        left = left[key[left] == key[left + offset]]


def _find(parents: np.ndarray, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = int(parents[i])
    return i


def _union(parents: np.ndarray, i: int, j: int) -> None:
    a, b = _find(parents, i), _find(parents, j)
    parents[max(a, b)] = min(a, b)


def group_names(image_ids: list[str], roots: np.ndarray, before: list[str | None]) -> list[str]:
    """Name every component after its first member, so that a name lasts as the table grows.

    A component keeps the name that its oldest named member had; where two named groups join, the older name wins and
    only the younger's rows change. A name belongs to one component: to the one with the oldest member that had it.

    Args:
        image_ids: in the order of age (of row ids), oldest first.
        roots: shape (n,): the index of each image's component (see `components`), a smallest member.
        before: each image's group until now; None for a new one.

    Returns:
        The group of each image.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    for root, old in zip(roots.tolist(), before, strict=True):
        if root not in names and old is not None and old not in taken:
            names[root] = old
            taken.add(old)
    for root in roots.tolist():
        if root not in names:
            names[root] = _free(image_ids[root], taken)
            taken.add(names[root])
    return [names[root] for root in roots.tolist()]


def _free(wanted: str, taken: set[str]) -> str:
    # A group outlives the image that it is named after; that image may come back with other bytes.
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}~{number}", number + 1
    return name
