"""Finds near-duplicate groups of 64-bit hashes without comparing all pairs, and gives them lasting names."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Raise it when the same hashes and distance give other groups.
GROUPING_REVISION = "1"
HASH_BITS = 64
# Keys of fewer bits put too many different hashes into one bucket.
MIN_KEY_BITS = 16
# Old hashes are filtered by these bits of their key before they are compared with new ones.
FILTER = np.uint64(2**20 - 1)
# Pairs that are compared at once, at most.
MOST_PAIRS = 2**21

Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


def revision_of(max_distance: int) -> str:
    """The revision of a group: the code's revision and the distance."""
    return f"{GROUPING_REVISION}-{max_distance}"


def components(hashes: np.ndarray, max_distance: int, settled: np.ndarray | None = None) -> np.ndarray:
    """The connected components of the graph that joins hashes of Hamming distance at most `max_distance`.

    Two hashes that differ in d bits agree on at least k of any d + k bands (pigeonhole). So only hashes that agree on
    some k bands are compared; k is the least number that makes the key of k bands `MIN_KEY_BITS` long.

    Args:
        hashes: shape (n,), uint64.
        max_distance: in bits.
        settled: shape (n,), int64: the component of each hash where it is known already, -1 where it is not. Hashes of
            different numbers are known to be far from each other. Only hashes with -1 are compared.

    Returns:
        Shape (n,), int64: the smallest index in each hash's component.
    """
    unique, inverse = np.unique(hashes, return_inverse=True)
    labels = np.full(len(unique), -1, dtype=np.int64)
    if settled is not None:
        labels[inverse[settled >= 0]] = settled[settled >= 0]
    forest = _Forest(labels)
    new, old = np.flatnonzero(labels < 0), np.flatnonzero(labels >= 0)
    few, many = unique[new], unique[old]
    for key in _keys(unique, max_distance) if len(new) else ():
        for left, right in _near_among(key[new], few, max_distance):
            forest.join(new[left], new[right])
        for left, right in _near_between(key[new], few, key[old], many, max_distance):
            forest.join(new[left], old[right])
    roots = forest.roots()[inverse]
    smallest = np.full(len(unique), len(hashes), dtype=np.int64)
    np.minimum.at(smallest, roots, np.arange(len(hashes)))
    return smallest[roots]


def _keys(hashes: np.ndarray, max_distance: int) -> Iterator[np.ndarray]:
    if max_distance == 0:  # different hashes are never near
        return
    kept = next(k for k in range(1, HASH_BITS) if HASH_BITS * k // (max_distance + k) >= MIN_KEY_BITS)
    edges = [int(edge) for edge in np.linspace(0, HASH_BITS, max_distance + kept + 1)]
    bands = [((hashes >> np.uint64(low)) & _ones(high - low), np.uint64(high - low)) for low, high in pairwise(edges)]
    for (key, _), *others in combinations(bands, kept):
        for band, width in others:
            key = (key << width) | band
        yield key


def _ones(width: int) -> np.uint64:
    return np.uint64((1 << width) - 1)


def _near_among(key: np.ndarray, hashes: np.ndarray, max_distance: int) -> Pairs:
    """Pairs of indices with equal keys and near hashes, each pair once."""
    width = max(len(key) - 1, 1).bit_length()
    # Key and index in one number: sorting plain numbers is several times faster than sorting indices by key.
    packed = np.sort((key << np.uint64(width)) | np.arange(len(key), dtype=np.uint64))
    order = (packed & _ones(width)).astype(np.int64)
    key, hashes = packed >> np.uint64(width), hashes[order]
    offset = 1
    left = np.flatnonzero(key[:-1] == key[1:])
    while len(left):
        near = left[np.bitwise_count(hashes[left] ^ hashes[left + offset]) <= max_distance]
        yield order[near], order[near + offset]
        offset += 1
        left = left[left + offset < len(key)]
        left = left[key[left] == key[left + offset]]


def _near_between(
    few_keys: np.ndarray, few: np.ndarray, many_keys: np.ndarray, many: np.ndarray, max_distance: int
) -> Pairs:
    """Pairs of an index into `few` and one into `many`, with equal keys and near hashes."""
    marked = np.zeros(int(FILTER) + 1, dtype=bool)
    marked[few_keys & FILTER] = True
    maybe = np.flatnonzero(marked[many_keys & FILTER])
    order = np.argsort(few_keys)
    first, last = (np.searchsorted(few_keys[order], many_keys[maybe], side) for side in ("left", "right"))
    counts = last - first
    ends = np.cumsum(counts)
    start = 0
    while start < len(maybe):  # a slice of at most so many pairs, or of one index
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + MOST_PAIRS, "right")))
        size = counts[start:stop]
        places = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        left, right = order[np.repeat(first[start:stop], size) + places], np.repeat(maybe[start:stop], size)
        near = np.bitwise_count(few[left] ^ many[right]) <= max_distance
        yield left[near], right[near]
        start = stop


class _Forest:
    """Disjoint sets of indices; each set is named after its smallest index.

    Args:
        labels: shape (n,): indices with the same number (0 and above) start in one set; -1 starts alone.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self._parents = np.arange(len(labels))
        labelled = np.flatnonzero(labels >= 0)
        if len(labelled):
            first = np.full(labels.max() + 1, len(labels))
            np.minimum.at(first, labels[labelled], labelled)
            self._parents[labelled] = first[labels[labelled]]

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        """Join the sets of each pair of indices."""
        while len(left):
            left, right = self._find(left), self._find(right)
            apart = left != right
            left, right = left[apart], right[apart]
            # A root may get several parents: the smallest stays, and the other pairs are joined in the next round.
            np.minimum.at(self._parents, np.maximum(left, right), np.minimum(left, right))

    def _find(self, nodes: np.ndarray) -> np.ndarray:
        while True:
            parents = self._parents[nodes]
            if np.array_equal(parents, nodes):
                return nodes
            nodes = parents

    def roots(self) -> np.ndarray:
        """The smallest index in the set of each index, shape (n,)."""
        return self._find(np.arange(len(self._parents)))


def group_names(image_ids: pa.ChunkedArray, roots: np.ndarray, before: pa.ChunkedArray) -> pa.Array:
    """Name every component, so that names stay as the table grows.

    A component keeps the name that its oldest named member had. Where two named groups join, the older name wins, and
    only the rows of the younger group change. A name belongs to one component: the one with the oldest member that had
    it. A component without a name is named after the smallest of its members' ids, as text. So the order in which new
    images were stored, which is chance where several runs store them, does not matter.

    Args:
        image_ids: the ids as text, oldest first (row ids rise with age).
        roots: shape (n,): the component of each image (see `components`).
        before: the group of each image until now, as text; null for a new image.

    Returns:
        The group of each image as text, shape (n,).
    """
    encoded = pa.chunked_array([before]) if isinstance(before, pa.Array) else before
    encoded = encoded.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    _, component = np.unique(roots, return_inverse=True)
    kept = _kept(component, codes)
    unnamed = np.flatnonzero(kept[component] < 0)
    candidates = pa.table({"component": component[unnamed], "image_id": image_ids.take(pa.array(unnamed))})
    candidates = (
        candidates.sort_by("image_id").group_by("component", use_threads=False).aggregate([("image_id", "first")])
    )
    taken = encoded.dictionary.take(pa.array(kept[kept >= 0]))
    kept[candidates["component"].to_numpy()] = len(encoded.dictionary) + np.arange(candidates.num_rows)
    names = pa.concat_arrays([encoded.dictionary, _free(candidates["image_id_first"].combine_chunks(), taken)])
    return names.take(pa.array(kept[component]))


def _kept(component: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The number of the name that each component keeps, or -1, shape (components,); see `group_names`."""
    count = int(component.max()) + 1 if len(component) else 0
    named = np.flatnonzero(before >= 0)
    pairs, first = np.unique(component[named] * (before.max(initial=0) + 1) + before[named], return_index=True)
    pairs = pairs[np.argsort(first)]  # by the oldest member
    components, names = np.divmod(pairs, before.max(initial=0) + 1)
    kept = np.full(count, -1, dtype=np.int64)
    alone = (np.bincount(components)[components] == 1) & (np.bincount(names)[names] == 1) if len(pairs) else pairs > 0
    kept[components[alone]] = names[alone]
    taken: set[int] = set()
    for one, name in zip(components[~alone].tolist(), names[~alone].tolist(), strict=True):
        if kept[one] < 0 and name not in taken:
            kept[one] = name
            taken.add(name)
    return kept


def _free(candidates: pa.Array, taken: pa.Array) -> pa.Array:
    """Make the candidates unique: a name that is taken already gets a number.

    A group outlives the image that it is named after; that image may come back with other bytes.
    """
    names, number = candidates, 1
    waiting = pc.is_in(candidates, taken)
    while pc.any(waiting).as_py():
        number += 1
        taken = pa.concat_arrays([taken, names.filter(pc.invert(waiting))])
        numbered = pc.binary_join_element_wise(candidates, str(number), "~")
        names = pc.if_else(waiting, numbered, names)
        waiting = pc.and_(waiting, pc.is_in(names, taken))
    return names
