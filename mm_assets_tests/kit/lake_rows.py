"""Lakes written by hand: rows as they are given, and records of materializations that no job made."""

import hashlib
import io
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.catalog import table_of
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.history.maintenance import expiries_in, maintenance_in
from mm_assets.history.materialized import Materialized
from mm_assets.history.rows import read_rows
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Expiry, Maintenance, Record
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES

# What users call things: these must neither break a table nor add a picture nor start a formula.
ODD_NAMES = (
    "a|b\\|c",
    "two\nlines",
    "<img src=x onerror=alert(1)>",
    "![x](https://example.com/x.png)",
    "**bold** `code` ~gone~ _low_",
    "$\\frac{1$",
    "客厅 гостиная säule",
    "\u202etxet\x00",
    "",
    "n" * 300,
)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def noise(seed: int, width: int = 300, height: int = 225) -> Image.Image:
    """What compresses worst."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def plain(colour: str) -> bytes:
    return png(Image.new("RGB", (40, 30), colour))


def calls_of(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[tuple[Any, ...]]:
    """The arguments of every call of a function from now on; it does what it did."""
    found: list[tuple[Any, ...]] = []
    function = getattr(module, name)

    def keep(*arguments: Any, **named: Any) -> Any:
        found.append(arguments)
        return function(*arguments, **named)

    monkeypatch.setattr(module, name, keep)
    return found


def write(tables: Lake, table: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows in one commit; a column that a row lacks is null."""
    ds = tables.open_or_create(table, schema, {})
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    if "image" in columns:
        columns["image"] = lance.blob_array(columns["image"])
    lance.write_dataset(pa.table(columns, schema=pa.schema(list(ds.schema))), ds, mode="append")


def image_row(image_id: str, label: str | None, data: bytes | None, **more: Any) -> dict[str, Any]:
    """A row of `images.lance`; without bytes a refused one."""
    row = {"image_id": image_id, "label": label, "image": data, "sha256": None, "error": None}
    if data is None:
        return row | {"error": "corrupt: JPEG, it ends early"} | more
    size = {"width": 40, "height": 30, "num_bytes": len(data)}
    return row | {"sha256": hashlib.sha256(data).hexdigest()} | size | more


def write_images(tables: Lake, rows: Sequence[Mapping[str, Any]], *scores: pa.Field) -> None:
    write(tables, IMAGES, pa.schema([*IMAGES_SCHEMA, *scores]), rows)


def record(tables: Lake, asset: str, inputs: Sequence[Record] = (), **metadata: Any) -> Record:
    """A materialization at the newest version of the asset's table."""
    table = table_of(asset)
    made = Record(
        id=uuid.uuid4().hex,
        asset=asset,
        ref=tables.ref(table, tables.open(table).version),
        run_id="run",
        step="step",
        code_version="1",
        inputs=tuple(item.as_input() for item in inputs),
        metadata={"rows": 0, **metadata},
        progress=Progress(),
        at=datetime.now(UTC),
        reused=False,
    )
    History.read(tables).append(made)
    return made


def materialized(tables: Lake, made: Record) -> Materialized:
    """A record as checks and previews are given it."""
    return Materialized(made, History.read(tables))


def expiries(tables: Lake) -> list[Expiry]:
    """The lake's expiries, oldest first."""
    return expiries_in(read_rows(tables))


def maintenance(tables: Lake) -> list[Maintenance]:
    """The work of maintenance on the lake, oldest first."""
    return maintenance_in(read_rows(tables))


def image_rows(tables: Lake) -> dict[str, dict[str, Any]]:
    """The rows of the image table with their row ids, by image."""
    found = tables.open("images").to_table(with_row_id=True).to_pylist()
    return {row["image_id"]: row for row in found}


def rejections(tables: Lake) -> Counter[str]:
    """How many rows were rejected for what kind of reason."""
    return Counter(row["error"].split(":")[0] for row in image_rows(tables).values() if row["error"])
