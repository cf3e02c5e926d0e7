"""An image table changed by hand: rows put in and taken out, cells and scores changed, each as its own assets."""

import hashlib
from collections.abc import Callable
from typing import Any

import lance
import pyarrow as pa

from mm_assets.engines.lake.cells import add_columns, commit_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score.grouping import NEAR_DUPLICATES
from mm_assets.stages.score.tables import GROUP_FIELDS
from mm_assets_tests.kit.small_lake import BUILT_IN
from mm_assets_tests.kit.steps import run_step

SCORED = [*BUILT_IN]

SCORES = pa.schema([*(field for scorer in SCORED for field in scorer.fields()), *GROUP_FIELDS])

Row = dict[str, Any]

Prepare = Callable[[lance.LanceDataset], lance.LanceOperation.BaseOperation | None]


def publish(tables: Lake, assets: list[str], prepare: Prepare) -> None:
    """A commit to the image table that is a materialization of some assets."""

    def commit_it(step: StepContext) -> dict[str, StepResult]:
        finals = dict.fromkeys(assets, StepResult({"rows": 0}))
        commit(tables, IMAGES, prepare, step.properties(assets, 1, finals))
        return finals

    run_step(tables, commit_it, *assets)


def image(image_id: str, label: str | None = "pool", caption: str | None = "a pool", **more: Any) -> Row:
    digest = hashlib.sha256(f"{image_id}{more.pop('content', '')}".encode()).hexdigest()
    return {
        "image_id": image_id,
        "sha256": digest,
        "label": label,
        "caption": caption,
        "width": 96,
        "height": 96,
    } | more


def put(tables: Lake, rows: list[Row], drop: tuple[str, ...] = ()) -> None:
    """New rows (also in place of others), without scores; and rows taken out."""
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in IMAGES_SCHEMA.names}
    table = pa.table({**columns, "image": lance.blob_array(columns["image"])}, schema=IMAGES_SCHEMA)
    tables.open_or_create(IMAGES, IMAGES_SCHEMA, {})

    def prepare(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        fragments = write_fragments(tables, IMAGES, table) if rows else []
        return replace_rows(ds, "image_id", [*drop, *columns["image_id"]], fragments)

    publish(tables, ["image_table"], prepare)
    commit(tables, IMAGES, lambda ds: add_columns(ds, SCORES), {})


def change(tables: Lake, asset: str, cells: dict[str, Row]) -> None:
    """Cells of one asset, by image."""
    if not cells:
        return
    rows = tables.open(IMAGES).scanner(columns=["image_id", "sha256"], with_row_id=True).to_table().to_pylist()
    wanted = [row | cells[row["image_id"]] for row in rows if row["image_id"] in cells]
    columns = list(next(iter(cells.values())))
    kinds = {**{field.name: field.type for field in [*IMAGES_SCHEMA, *SCORES]}, "_rowid": pa.uint64()}
    table = pa.table(
        {name: pa.array([row[name] for row in wanted], kinds[name]) for name in ["_rowid", "sha256", *columns]}
    )

    def commit_it(step: StepContext) -> dict[str, StepResult]:
        final = StepResult({"rows": 0})
        commit_cells(tables, IMAGES, table, step.properties([asset], 1, {asset: final}))
        return {asset: final}

    run_step(tables, commit_it, asset)


def score(tables: Lake, image_ids: list[str], *, group: str | None = None, **values: float) -> None:
    """All scores of some images, and each its own group unless one is given."""
    known = {"sharpness": 50.0, "luminance": 100.0, "clipped": 0.1, "entropy": 5.0} | values
    for scorer in SCORED:
        cell = {name: known[name] for name in scorer.columns} | {scorer.rev_column: "1", scorer.error_column: None}
        change(tables, scorer.asset, dict.fromkeys(image_ids, cell))
    groups = {key: {"group_id": group or key, "first_group_id": group or key} for key in image_ids}
    change(tables, NEAR_DUPLICATES, groups)
