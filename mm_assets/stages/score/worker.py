"""What a worker does with a piece of the images: read each once, and run the scorers on it."""

from typing import Any

import pyarrow as pa

from mm_assets.engines.lake.tables import Lake
from mm_assets.images import ImageError, decode
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PILLOW_MAX_PIXELS
from mm_assets.stages.score.scorers import Scorer


class ImageScorer:
    """Reads images by row id and runs scorers on each; runs as a Ray actor."""

    def __init__(self, tables: Lake, ref: LanceRef, scorers: list[Scorer]) -> None:
        self._images, self._scorers = tables.open_at(ref), scorers

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Cells of one piece: `_rowid`, `sha256`, and every column of the scorers."""
        ids = rows["_rowid"].to_pylist()
        blobs = self._images.read_blobs("image", ids=ids)
        cells = [self._cells(data) for _, data in blobs]
        fields = [field for scorer in self._scorers for field in scorer.fields()]
        columns = {field.name: pa.array([cell[field.name] for cell in cells], field.type) for field in fields}
        return pa.table({"_rowid": rows["_rowid"], "sha256": rows["sha256"], **columns})

    def _cells(self, data: bytes) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        try:
            image, _ = decode(data, PILLOW_MAX_PIXELS)  # ingest held it to the limits
        except ImageError as error:
            return {name: value for scorer in self._scorers for name, value in _failed(scorer, error).items()}
        for scorer in self._scorers:
            cells |= _score(scorer, image)
        return cells


def _score(scorer: Scorer, image: Any) -> dict[str, Any]:  # noqa: ANN401  (a PIL image)
    try:
        values = scorer.function(image.copy())  # a scorer may change its image, and others follow
        missing = set(scorer.columns) ^ set(values)
        if missing:
            raise KeyError(f"returned {sorted(values)}, not {sorted(scorer.columns)}")
        values = {name: pa.scalar(value, scorer.columns[name]).as_py() for name, value in values.items()}
    except Exception as error:  # noqa: BLE001  (a scorer may raise anything; the cell keeps it)
        return _failed(scorer, error)
    return {**values, scorer.rev_column: scorer.revision, scorer.error_column: None}


def _failed(scorer: Scorer, error: Exception) -> dict[str, Any]:
    nulls = dict.fromkeys(scorer.columns)
    return {**nulls, scorer.rev_column: scorer.revision, scorer.error_column: f"{type(error).__name__}: {error}"}
