"""Previews of the listing and of the stored images."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import RAW_IMAGES
from mm_assets.previews import plots, rows
from mm_assets.previews.markdown import table
from mm_assets.previews.sheets import Section, Tile, sheet
from mm_assets.reasons import reasons

if TYPE_CHECKING:
    import lance

    from mm_assets.history.materialized import Materialized

MAX_LABELS = 26
MAX_REFUSED = 10
GOOD, CARDS = 12, 8


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of `raw_images` or `image_table`."""
    return _listing(materialized.ds) if materialized.record.asset == RAW_IMAGES.key else _images(materialized.ds)


def _listing(ds: "lance.LanceDataset") -> dict[str, str]:
    labels, _ = rows.largest(ds.to_table(columns=["label"])["label"], MAX_LABELS)
    pictures = {"preview_labels": plots.bars("Files by label", labels, "files", 10_000)}
    refused = ds.count_rows("error is not null")
    first = ds.to_table(columns=["image_id", "error"], filter="error is not null", limit=MAX_REFUSED).to_pylist()
    if refused:
        lines = [[row["image_id"], row["error"]] for row in first]
        pictures["preview_refused"] = table(["entry", "refused because"], lines, refused - len(first), cell=120)
    return pictures


def _images(ds: "lance.LanceDataset") -> dict[str, str]:
    good = ds.scanner(columns=["label", "width", "height", "num_bytes"], filter="error is null", with_row_id=True)
    usable = good.to_table()
    pictures = {"preview_images": _good(ds, usable)}
    bad = ds.scanner(columns=["error"], filter="error is not null", with_row_id=True).to_table()
    if bad.num_rows:
        pictures["preview_refused"] = _refused(ds, bad)
    if usable.num_rows:
        pixels = rows.numbers(usable["width"]) * rows.numbers(usable["height"])
        sizes = {"megapixels": pixels / 1e6, "kilobytes": rows.numbers(usable["num_bytes"]) / 1e3}
        pictures["preview_sizes"] = plots.histograms("Sizes of the images", sizes, 7_000)
    return pictures


def _good(ds: "lance.LanceDataset", usable: pa.Table) -> str:
    chosen = usable.take(rows.spread(usable["label"], GOOD))
    pictures = rows.pictures(ds, chosen["_rowid"].to_pylist())
    labels = pc.fill_null(chosen["label"], "no label").to_pylist()
    tiles = [Tile(image, [label]) for image, label in zip(pictures, labels, strict=True)]
    return sheet("Some of the images", [Section("", tiles)], 4, 24_000)


def _refused(ds: "lance.LanceDataset", bad: pa.Table) -> str:
    """Cards with the reason; the table has no bytes of refused objects."""
    chosen = bad["_rowid"].take(rows.spread(reasons(bad["error"]), CARDS)).to_pylist()
    tiles = [Tile(None, [row["image_id"]], row["error"]) for row in rows.take(ds, chosen, ["image_id", "error"])]
    return sheet("Some of the refused objects", [Section(f"{bad.num_rows:,} refused", tiles)], 4, 10_000)
