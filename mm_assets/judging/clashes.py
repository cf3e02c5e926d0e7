"""Finds keys with more than one value: the same bytes under two labels, a group in two splits."""

import numpy as np
import pyarrow as pa


def clashing(keys: pa.ChunkedArray, values: pa.ChunkedArray) -> np.ndarray:
    """Which rows have a key with several values; rows without a key or a value do not count.

    Returns:
        Shape (rows,), bool.
    """
    key, value = _codes(keys), _codes(values)
    has_both = (key >= 0) & (value >= 0)
    lowest = np.full(key.max(initial=-1) + 1, np.iinfo(np.int32).max)
    highest = np.full(len(lowest), -1)
    np.minimum.at(lowest, key[has_both], value[has_both])
    np.maximum.at(highest, key[has_both], value[has_both])
    clashes = np.zeros(len(key), dtype=bool)
    clashes[has_both] = (lowest < highest)[key[has_both]]
    return clashes


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Integer codes of the values, -1 for null, shape (rows,)."""
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
