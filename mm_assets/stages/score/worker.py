"""The worker of scoring: reads and decodes each image once, and calls the scorers with batches of images.

A scorer that fails on a batch is called with its halves, down to single images: one bad image costs its own cell.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from mm_assets.engines.lake.rows import rows_by_id
from mm_assets.engines.lake.tables import Lake
from mm_assets.images import ImageError, decode
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.refs import LanceRef
from mm_assets.scoring import Scorer
from mm_assets.settings import PILLOW_MAX_PIXELS
from mm_assets.stages.score.cells import Cell, columns_of, digest_of, failed, to_cell

# Pixels that are decoded at once, except for a single larger image: three bytes each, and the scorer's copy.
WINDOW_PIXELS = 64_000_000
# Where so many images fail in a row, each in a call of its own, the model is at fault and not the images.
SUSPICIOUS = 16

Window = list[tuple[int, Image.Image]]
Beside = Mapping[str, Sequence[Any]]


class ImageScorer:
    """Reads images by row id and has scorers compute on them; runs as a Ray actor."""

    def __init__(self, lake: Lake, ref: LanceRef, device: str, scorers: Sequence[Scorer]) -> None:
        """Open the scorers.

        Raises:
            RefusalError: a scorer cannot be opened, so no cell could be computed.
        """
        self._images, self._scorers = lake.open_at(ref), scorers
        self._reads = sorted({name for scorer in scorers for name in scorer.reads})
        self._window = max(scorer.batch_size for scorer in scorers)
        self._failed_in_a_row = {scorer.name: 0 for scorer in scorers}
        for scorer in scorers:
            _open(scorer, device)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Cells of one piece: `_rowid`, `sha256`, and every column of the scorers.

        Raises:
            RefusalError: too many images failed in a row (see `SUSPICIOUS`).
        """
        beside = self._read_beside(rows["_rowid"])
        cells: dict[str, list[Cell]] = {scorer.name: [Cell()] * rows.num_rows for scorer in self._scorers}
        for window in self._windows(rows["_rowid"].to_pylist(), cells):
            for scorer in self._scorers:
                for start in range(0, len(window), scorer.batch_size):
                    batch = window[start : start + scorer.batch_size]
                    for (place, _), cell in zip(batch, self._score(scorer, batch, beside), strict=True):
                        cells[scorer.name][place] = cell
        columns = {"_rowid": rows["_rowid"], "sha256": rows["sha256"]}
        for scorer in self._scorers:
            read = zip(*(beside[name] for name in scorer.reads), strict=True)
            columns |= columns_of(scorer, cells[scorer.name], [digest_of(values) for values in read])
        return pa.table(columns)

    def _read_beside(self, row_ids: pa.ChunkedArray) -> Beside:
        """The columns that scorers read beside the image, each in the order of the row ids."""
        if not self._reads:
            return {}
        stored = rows_by_id(self._images, row_ids, self._reads)
        stored = stored.take(pc.index_in(row_ids, stored["_rowid"]))
        return {name: stored[name].to_pylist() for name in self._reads}

    def _windows(self, row_ids: list[int], cells: Mapping[str, list[Cell]]) -> Iterator[Window]:
        """Decoded images in windows of the largest batch size; one that cannot be decoded fails for every scorer."""
        window: Window = []
        pixels = 0
        for place, (_, data) in enumerate(self._images.read_blobs("image", ids=row_ids)):
            try:
                image, _ = decode(data, PILLOW_MAX_PIXELS)  # ingest held it to the limits
            except ImageError as error:
                for of_scorer in cells.values():
                    of_scorer[place] = failed(f"{type(error).__name__}: {error}")
                continue
            size = image.width * image.height
            if window and (len(window) == self._window or pixels + size > WINDOW_PIXELS):
                yield window
                window, pixels = [], 0
            window.append((place, image))
            pixels += size
        if window:
            yield window

    def _score(self, scorer: Scorer, batch: Window, beside: Beside) -> list[Cell]:
        """The cells of a batch; a failed batch is called again in halves."""
        try:
            cells = _call(scorer, batch, beside)
        except Exception as error:  # noqa: BLE001  (a scorer may raise anything; the cell keeps it)
            reason = f"{type(error).__name__}: {error}"
        else:
            self._watch(scorer, cells)
            return cells
        # Outside the except block: inside, the traceback would keep the failed batch's tensors in memory.
        if len(batch) > 1:
            half = len(batch) // 2
            return [*self._score(scorer, batch[:half], beside), *self._score(scorer, batch[half:], beside)]
        cells = [failed(reason)]
        self._watch(scorer, cells)
        return cells

    def _watch(self, scorer: Scorer, cells: Sequence[Cell]) -> None:
        """Count failures in a row, for scorers that are called with batches.

        Raises:
            RefusalError: there are so many that the images are not at fault.
        """
        for cell in cells:
            count = self._failed_in_a_row[scorer.name] + 1 if cell.error is not None else 0
            self._failed_in_a_row[scorer.name] = count
            if scorer.batch_size > 1 and count == SUSPICIOUS:
                raise RefusalError(
                    f"{scorer.asset}: {SUSPICIOUS} images failed one after the other, so it is hardly their fault: "
                    f"{cell.error} (where an image has no value, give None as the value)"
                )


def _open(scorer: Scorer, device: str) -> None:
    try:
        scorer.open(device)
    except Exception as error:
        raise RefusalError(f'{scorer.asset}: open("{device}") failed: {type(error).__name__}: {error}') from error


def _call(scorer: Scorer, batch: Window, beside: Beside) -> list[Cell]:
    # A scorer may change its images, but other scorers get them too, and a failed batch is called again.
    images = [image.copy() for _, image in batch]
    read = {name: [beside[name][place] for place, _ in batch] for name in scorer.reads}
    results = list(scorer(images, **read))
    if len(results) != len(images):
        raise ValueError(f"returned values of {len(results)} images, not of {len(images)}")
    return [to_cell(scorer, values) for values in results]
