"""Previews of scores: histograms with the images at both ends, examples of other values, and large groups."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.previews import plots, rows
from mm_assets.previews.markdown import escaped, table
from mm_assets.previews.sheets import Section, Tile, sheet

if TYPE_CHECKING:
    import lance

    from mm_assets.history.materialized import Materialized

MAX_CHARS = 40_000
PLOT_CHARS = 6_000
MAX_COLUMNS = 4
ENDS = 5
EXAMPLES = 8
GROUPS, MEMBERS, MAX_SIZES = 4, 5, 12


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of one scorer's columns or of the duplicate groups."""
    ds, record = materialized.ds, materialized.record
    if record.asset == "scores/near_duplicates":
        return _groups(ds)
    names = [name for name in record.metadata.get("columns", []) if name in ds.schema.names and not _is_hash(ds, name)]
    first = names[:MAX_COLUMNS]
    plots_of = [name for name in first if _has_order(ds, name)]
    pictures = {
        f"preview_{name}": _column(ds, name, MAX_CHARS // len(plots_of))
        if name in plots_of
        else _examples(ds, record.asset.removeprefix("scores/"), name)
        for name in first
    }
    if len(names) > len(first):
        pictures["preview_not_drawn"] = escaped(", ".join(names[MAX_COLUMNS:]), 500)
    return pictures


def _is_hash(ds: "lance.LanceDataset", name: str) -> bool:
    return bool(pa.types.is_unsigned_integer(ds.schema.field(name).type))


def _has_order(ds: "lance.LanceDataset", name: str) -> bool:
    """Whether a column has low and high values: numbers, but not hashes."""
    kind = ds.schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_signed_integer(kind))


def _examples(ds: "lance.LanceDataset", scorer: str, name: str) -> str:
    """The number of cells and a few values of a column of vectors, texts, lists or structs; few rows are read."""
    computed = ds.count_rows(f"error is null and {scorer}_rev is not null and {scorer}_error is null")
    condition = f"error is null and {name} is not null"
    examples = ds.scanner(columns=["image_id", name], filter=condition, limit=EXAMPLES, batch_size=EXAMPLES).to_table()
    words = escaped(f"{computed:,} cells, null ones among them, of {ds.schema.field(name).type}", 300)
    lines = [[row["image_id"], row[name]] for row in examples.to_pylist()]
    return f"{words}\n\n{table(['image', name], lines)}" if lines else "No image has a value."


def _column(ds: "lance.LanceDataset", name: str, max_chars: int) -> str:
    scored = ds.scanner(columns=[name], filter="error is null", with_row_id=True).to_table()
    values = rows.numbers(scored[name])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "No image has a value."
    nulls = scored[name].null_count
    odd = len(values) - len(finite) - nulls
    words = f"{len(finite):,} values; images without one: {nulls:,}" + (f"; not finite: {odd:,}" if odd else "")
    plot = plots.histograms(f"Values of {name}", {name: finite}, PLOT_CHARS)
    ends = sheet(f"Lowest and highest {name}", _ends(ds, scored, values), ENDS, max_chars - PLOT_CHARS - 200)
    return f"{words}\n\n{plot}\n\n{ends}"


def _ends(ds: "lance.LanceDataset", scored: pa.Table, values: np.ndarray) -> list[Section]:
    sections = zip(("lowest", "highest"), rows.extremes(values, ENDS), strict=True)
    return [
        Section(title, _tiles(ds, scored["_rowid"].take(places).to_pylist(), values[places]))
        for title, places in sections
    ]


def _tiles(ds: "lance.LanceDataset", row_ids: list[int], values: np.ndarray) -> list[Tile]:
    named = rows.take(ds, row_ids, ["image_id"])
    captions = [[f"{value:.4g}", row["image_id"]] for value, row in zip(values, named, strict=True)]
    return [Tile(image, lines) for image, lines in zip(rows.pictures(ds, row_ids), captions, strict=True)]


def _groups(ds: "lance.LanceDataset") -> dict[str, str]:
    members = ds.scanner(columns=["group_id"], filter="group_id is not null", with_row_id=True).to_table()
    counts = pc.value_counts(members["group_id"])
    groups = pa.table({"name": counts.field("values"), "size": counts.field("counts")})
    sizes = groups.group_by("size").aggregate([([], "count_all")]).sort_by([("size", "descending")])
    lines = [[row["size"], row["count_all"]] for row in sizes.slice(0, MAX_SIZES).to_pylist()]
    pictures = {"preview_group_sizes": table(["images in the group", "groups"], lines, sizes.num_rows - len(lines))}
    large = groups.filter(pc.greater(groups["size"], 1)).sort_by([("size", "descending"), ("name", "ascending")])
    sections = [_group(ds, members, **row) for row in large.slice(0, GROUPS).to_pylist()]
    return (
        {"preview_groups": sheet("The largest groups", sections, MEMBERS, 28_000), **pictures} if sections else pictures
    )


def _group(ds: "lance.LanceDataset", members: pa.Table, name: str, size: int) -> Section:
    row_ids = np.sort(members.filter(pc.equal(members["group_id"], name))["_rowid"].to_numpy())[:MEMBERS].tolist()
    named = rows.take(ds, row_ids, ["image_id"])
    tiles = [Tile(image, [row["image_id"]]) for image, row in zip(rows.pictures(ds, row_ids), named, strict=True)]
    return Section(f"{size:,} images: {name}", tiles)
