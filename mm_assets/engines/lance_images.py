"""Images straight from Lance at a pinned version, by image id; picklable, and opened once per process."""

from collections.abc import Sequence
from typing import Any

import lance
from PIL import Image

from mm_assets.engines.lance_tables import LakeTables
from mm_assets.images import decode
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import PILLOW_MAX_PIXELS


class LanceImages:
    """Decoded images of one version of `images.lance`.

    Args:
        tables: the lake.
        ref: of `images.lance`.
    """

    def __init__(self, tables: LakeTables, ref: LanceRef) -> None:
        self._tables, self._ref = tables, ref
        self._opened: tuple[lance.LanceDataset, dict[str, int]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A handle of Lance belongs to one process.
        return {**self.__dict__, "_opened": None}

    def _table(self) -> tuple[lance.LanceDataset, dict[str, int]]:
        if self._opened is None:
            ds = self._tables.open_at(self._ref)
            rows = ds.scanner(columns=["image_id"], filter="error is null", with_row_id=True).to_table()
            ids = dict(zip(rows["image_id"].to_pylist(), rows["_rowid"].to_pylist(), strict=True))
            self._opened = ds, ids
        return self._opened

    def read(self, image_ids: Sequence[str]) -> list[Image.Image]:
        """The images in the order of their ids, upright and in RGB.

        Raises:
            KeyError: an id has no usable image at this version.
        """
        return [decode(data, PILLOW_MAX_PIXELS)[0] for data in self.stored(image_ids)]

    def stored(self, image_ids: Sequence[str]) -> list[bytes]:
        """The bytes of the images' files, in the order of their ids.

        Raises:
            KeyError: an id has no usable image at this version.
        """
        ds, ids = self._table()
        return [data for _, data in ds.read_blobs("image", ids=[ids[image_id] for image_id in image_ids])]
