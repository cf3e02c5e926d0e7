"""Images read from Lance at a pinned version, by image id; picklable, and opened once per process."""

from collections.abc import Sequence
from typing import Any

import lance
import pyarrow as pa
from PIL import Image

from mm_assets.engines.lake.tables import Lake
from mm_assets.images import decode
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PILLOW_MAX_PIXELS


class LanceImages:
    """Decoded images of one version of `images.lance`.

    Args:
        tables: the lake.
        ref: of `images.lance`.
    """

    def __init__(self, tables: Lake, ref: LanceRef) -> None:
        self._tables, self._ref = tables, ref
        self._opened: lance.LanceDataset | None = None
        self._ids: dict[str, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A handle of Lance belongs to one process.
        return {**self.__dict__, "_opened": None, "_ids": None}

    def _table(self) -> lance.LanceDataset:
        if self._opened is None:
            self._opened = self._tables.open_at(self._ref)
        return self._opened

    def read(self, image_ids: Sequence[str]) -> list[Image.Image]:
        """The images in the order of their ids, upright and in RGB.

        Raises:
            KeyError: an id has no usable image at this version.
        """
        if self._ids is None:
            rows = self._table().scanner(columns=["image_id"], filter="error is null", with_row_id=True).to_table()
            self._ids = dict(zip(rows["image_id"].to_pylist(), rows["_rowid"].to_pylist(), strict=True))
        stored = self._table().read_blobs("image", ids=[self._ids[image_id] for image_id in image_ids])
        return [decode(data, PILLOW_MAX_PIXELS)[0] for _, data in stored]

    def stored(self, rows: pa.Table) -> list[bytes]:
        """The bytes of the images' files, in the order of the rows.

        Args:
            rows: with `_rowid`.

        Raises:
            ValueError: a row is not there at this version.
        """
        return [data for _, data in self._table().read_blobs("image", ids=rows["_rowid"].to_pylist())]
