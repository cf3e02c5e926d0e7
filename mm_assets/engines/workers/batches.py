"""How much work is done between two commits: at most so many rows, so many bytes, and about so many seconds."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

Done = TypeVar("Done")


def cut(rows: pa.Table, max_rows: int, sizes: pa.ChunkedArray | None = None, max_bytes: int = 0) -> Iterator[pa.Table]:
    """Consecutive slices of at most so many rows and (but for a single larger row) so many bytes.

    Args:
        rows: any table.
        max_rows: of a slice.
        sizes: bytes that a row stands for (null: unknown, counted as none); without them only rows count.
        max_bytes: of a slice.
    """
    if sizes is None:
        yield from (rows.slice(start, max_rows) for start in range(0, rows.num_rows, max_rows))
        return
    start, size = 0, 0
    for position, num_bytes in enumerate(sizes.to_numpy(zero_copy_only=False).astype(float)):
        item = 0 if num_bytes != num_bytes else int(num_bytes)
        if position > start and (position - start >= max_rows or size + item > max_bytes):
            yield rows.slice(start, position - start)
            start, size = position, 0
        size += item
    if start < rows.num_rows:
        yield rows.slice(start)


def gather(results: Iterable[Done], pieces: Sequence[int], seconds: float) -> Iterator[tuple[list[Done], bool]]:
    """Results of pieces of work, batch by batch, and whether a batch is the last one.

    Args:
        results: of the pieces of all batches, in order.
        pieces: how many pieces each batch has.
        seconds: after so long a batch is given as far as it is done, with the piece that comes next.
    """
    coming = iter(results)
    for number, count in enumerate(pieces, start=1):
        batch: list[Done] = []
        since = time.monotonic()
        for position in range(1, count + 1):
            batch.append(next(coming))
            ends = position == count
            if ends or time.monotonic() - since >= seconds:
                yield batch, ends and number == len(pieces)
                batch, since = [], time.monotonic()
