"""What stands in a lake, as the plain dictionaries of the oracle."""

from typing import Any

import pyarrow as pa

from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.lineage.records import Record
from mm_assets.reasons import reasons
from mm_assets_tests.torture.oracle import Cell, Image
from mm_assets_tests.torture.stages import LIST, PREDICT, SCORE
from mm_assets_tests.torture.workers import NAMES


class LakeReader:
    """Reads `tables`."""

    tables: Lake

    def _newest(self) -> dict[str, Record]:
        return History.read(self.tables).newest

    def _versions(self, stage: str) -> int | None:
        table = {LIST: "objects", PREDICT: "predictions"}.get(stage, "images")
        return int(self.tables.open(table).version) if self.tables.exists(table) else None

    def _adds_columns(self, stage: str, known: int) -> bool:
        return stage == SCORE and "crc_rev" not in self.tables.open("images", known).schema.names

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if not self.tables.exists(table):
            return []
        rows: list[dict[str, Any]] = self.tables.open(table).to_table().to_pylist()
        return rows

    def _objects(self) -> dict[str, str]:
        return _unique((row["image_id"], row["etag"]) for row in self._rows("objects"))

    def _images(self) -> dict[str, Image]:
        return _unique((row["image_id"], _image(row)) for row in self._rows("images"))

    def _predictions(self) -> dict[tuple[str, str | None], str]:
        rows = self._rows("predictions")
        assert all(row["answer"] in (None, row["sha256"]) for row in rows), "an answer about other bytes"
        return _unique(((row["image_id"], row["sha256"]), _said(row)) for row in rows)


def _unique(pairs: Any) -> dict[Any, Any]:
    found = list(pairs)
    assert len(dict(found)) == len(found), f"a key is there twice: {found}"
    return dict(found)


def _image(row: dict[str, Any]) -> Image:
    reason = reasons(pa.array([row["error"]], pa.string()))[0].as_py()
    cells = {
        name: Cell(row[f"{name}_rev"], row[name], row[f"{name}_error"])
        for name in NAMES
        if row.get(f"{name}_rev") is not None
    }
    return Image(row["etag"], row["sha256"], reason, cells)


def _said(row: dict[str, Any]) -> str:
    if row["error"] is None:
        return "answer"
    return "no image" if row["error"].startswith("no image") else "error"
