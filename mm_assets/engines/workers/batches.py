"""Batches, the work between two commits: bounded by rows, by bytes, and roughly by seconds."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

Done = TypeVar("Done")


def cut(rows: pa.Table, max_rows: int, sizes: pa.ChunkedArray | None = None, max_bytes: int = 0) -> Iterator[pa.Table]:
    """Cut a table into consecutive slices of at most so many rows and bytes; one row may have more bytes.

    Args:
        rows: any table.
        max_rows: of a slice.
        sizes: bytes of each row; null counts as 0. Without sizes only rows count.
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
    """Collect results of pieces of work into batches, each with whether it is the last one.

    A worked example: `pieces` is [3, 2] and a piece takes 4 s. With `seconds` 60 the batches have 3 and 2 results. With
    `seconds` 5 they have 2, 1 and 2: the first batch is cut after its second piece, when 8 s have passed.

    Args:
        results: of the pieces of all batches, in order.
        pieces: number of pieces of each batch.
        seconds: an older batch is cut short after its next result.
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
