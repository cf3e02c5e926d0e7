"""Tables with a past: rows with pictures of several sizes, replaced, scored and spread over many commits."""

from typing import Any

import lance
import numpy as np
import pyarrow as pa

from mm_assets.engines.lake.cells import add_columns, write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.files import files_of
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.operations.upkeep.job import Upkeep, maintain
from mm_assets.settings import UpkeepSettings

TABLE = "images"
SCHEMA = pa.schema(
    [
        key_field("image_id"),
        pa.field("num_bytes", pa.int64()),
        pa.field("error", pa.string()),
        lance.blob_field("image"),
    ]
)
SCORE = pa.field("score", pa.float32())
# Large images lie in files of their own.
SIZES = (300, 70_000, 1_000)


def pictures(names: list[str], seed: int = 0) -> pa.Table:
    """Rows of noise."""
    rng = np.random.default_rng(seed)
    data = [rng.bytes(SIZES[number % len(SIZES)]) for number in range(len(names))]
    columns = [names, [len(item) for item in data], [None] * len(names), lance.blob_array(data)]
    return pa.table(columns, schema=SCHEMA)


def put(
    tables: Lake, names: list[str], drop: tuple[str, ...] = (), seed: int = 0, final: StepResult | None = None
) -> int:
    """Commit pictures as a batch of `image_table`, in place of those to drop; with `final` as its materialization."""
    step = StepContext(f"run-{seed}", "image_table", {"image_table": "1"}, {}, {}, {}, print)
    tables.open_or_create(TABLE, SCHEMA, {})
    properties = step.properties(["image_table"], 1, {"image_table": final} if final else None)
    done = commit(
        tables,
        TABLE,
        lambda head: replace_rows(
            head, "image_id", drop, write_fragments(tables, TABLE, pictures(names, seed)) if names else []
        ),
        properties,
    )
    assert done is not None
    return int(done.version)


def score(tables: Lake, value: float, names: list[str] | None = None, asset: str = "scores/x") -> int:
    """Commit a score for some rows or all, as a batch of a scorer."""
    step = StepContext("run-score", "scores", {asset: "1"}, {}, {}, {}, print)
    commit(tables, TABLE, lambda head: add_columns(head, [SCORE]), step.properties([asset], 0))
    rows = tables.open(TABLE).to_table(columns=["image_id"], with_row_id=True).to_pylist()
    ids = [row["_rowid"] for row in rows if names is None or row["image_id"] in names]
    cells = pa.table({"_rowid": pa.array(ids, pa.uint64()), "score": pa.array([value] * len(ids), pa.float32())})
    done = commit(tables, TABLE, lambda head: write_cells(head, cells), step.properties([asset], 1))
    assert done is not None
    return int(done.version)


def with_a_past(tables: Lake) -> None:
    """Twelve commits of six rows, some of them replaced and removed, half of them scored."""
    names = [f"{number:03}.png" for number in range(72)]
    for start in range(0, 72, 6):
        put(tables, names[start : start + 6], seed=start)
    put(tables, ["003.png", "070.png"], drop=("003.png", "004.png", "005.png", "030.png", "070.png"), seed=99)
    score(tables, 0.5, names[:40])
    score(tables, 0.25, names[7:9])


def content(ds: lance.LanceDataset) -> list[dict[str, Any]]:
    """Every cell, the images' bytes too, with row ids and the versions of the rows."""
    names = [name for name in ds.schema.names if name != "image"]
    versions = ["_row_created_at_version", "_row_last_updated_at_version"]
    rows = ds.scanner(columns=[*names, *versions], with_row_id=True).to_table().sort_by("_rowid").to_pylist()
    data = [data for _, data in ds.read_blobs("image", ids=[row["_rowid"] for row in rows])] if rows else []
    return [{**row, "image": item} for row, item in zip(rows, data, strict=True)]


def upkeep(tables: Lake, **settings: float) -> Upkeep:
    return maintain(tables, UpkeepSettings(**{"grace_seconds": 0, **settings}), "run-of-upkeep", print)


NEW = ["new-0.png", "new-1.png", "new-2.png"]


def data_files(tables: Lake) -> set[str]:
    return {path for path in files_of(tables, TABLE) if path.startswith(("data/", "_deletions/"))}


def row_ids(tables: Lake) -> list[int]:
    return sorted(tables.open(TABLE).to_table(columns=[], with_row_id=True)["_rowid"].to_pylist())
