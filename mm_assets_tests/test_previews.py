"""Drawing: budgets, themes, words that fit, names that break nothing, and which rows are chosen."""

import base64
import io
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from mm_assets.previews import plots, rows, sheets
from mm_assets.previews.markdown import MAX_CELL, escaped, one_line, table
from mm_assets.previews.sheets import Section, Tile, draw, fitted, sheet, wrapped
from mm_assets_tests.kit.lake_rows import ODD_NAMES, noise

BUDGET = 12_000


def image_of(markdown: str) -> Image.Image:
    """The one picture in a Markdown text."""
    (data,) = re.findall(r"!\[[^\]]*\]\(data:image/webp;base64,([^)]+)\)", markdown)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    image.load()
    return image


def tokens(markdown: str) -> list[Token]:
    """What a Markdown parser with tables makes of a text."""
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    return [token for block in parsed for token in (block, *(block.children or []))]


def noisy_tiles(count: int) -> list[Tile]:
    return [Tile(noise(seed), ["a label", "0.123"]) for seed in range(count)]


@pytest.mark.parametrize("count", [1, 12, 20])
def test_a_sheet_of_noise_keeps_its_budget(count: int) -> None:
    markdown = sheet("noise", [Section("title", noisy_tiles(count))], 5, BUDGET)
    assert len(markdown) <= BUDGET + 20
    assert image_of(markdown).width >= 180


def test_a_sheet_is_as_good_as_its_budget_allows() -> None:
    sizes = [len(sheet("noise", [Section("", noisy_tiles(6))], 3, budget)) for budget in (6_000, 20_000, 200_000)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 3 * sizes[1] > 4 * sizes[0]


def test_pictures_keep_their_shape_and_order() -> None:
    wide, high = Image.new("RGB", (400, 4), "red"), Image.new("RGB", (3, 900), "blue")
    shown = np.asarray(draw([Section("", [Tile(wide, ["w"]), Tile(high, ["h"])])], 2)).astype(int)
    red = np.argwhere((shown[..., 0] > 180) & (shown[..., 2] < 90))
    blue = np.argwhere((shown[..., 2] > 180) & (shown[..., 0] < 90))
    across, down = red.max(axis=0) - red.min(axis=0), blue.max(axis=0) - blue.min(axis=0)
    assert across[1] > 50 * (across[0] + 1)
    assert down[0] > 50 * (down[1] + 1)
    assert red[:, 1].max() < blue[:, 1].min()


PICTURES: dict[str, Callable[[], str]] = {
    "sheet": lambda: sheet("s", [Section("t", [Tile(noise(1), ["x"])])], 4, BUDGET),
    "sheet without a picture": lambda: sheet("s", [Section("t", [Tile(None, ["x"], "broken")])], 4, BUDGET),
    "bars": lambda: plots.bars("b", [("a", 1.0)], "files", BUDGET),
    "histograms": lambda: plots.histograms("h", {"x": np.arange(9.0)}, BUDGET),
    "curve": lambda: plots.curve("c", [(1, 2.0), (2, 1.0)], ("validation", 1.5), BUDGET),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_has_a_light_card_of_its_own(kind: str) -> None:
    image = image_of(PICTURES[kind]())
    assert image.mode == "RGB"  # nothing shines through
    edge = np.asarray(image)[2:-2, 2:4]
    assert edge.min() > 230


def test_no_tile_is_a_sentence() -> None:
    assert sheet("none", [Section("t", [])], 4, BUDGET) == "There is no picture to show."


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_can_be_drawn(name: str) -> None:
    image_of(sheet("s", [Section(name, [Tile(noise(1), [name, name]), Tile(None, [name], name)])], 4, BUDGET))
    image_of(plots.bars("b", [(name, 3.0)], "files", BUDGET))
    image_of(plots.histograms("h", {name: np.arange(9.0)}, BUDGET))
    image_of(plots.matrix("m", [name], [name], np.array([[3]]), np.array([3]), BUDGET))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_stay_text_in_a_table(name: str) -> None:
    found = tokens(table(["label", "count"], [[name, 3], ["next", 4]]))
    kinds = {token.type for token in found}
    assert not kinds & {"image", "html_inline", "html_block", "strong_open", "em_open", "code_inline", "s_open"}
    cells = [token.content for token in found if token.type == "inline"]
    assert len(cells) == 6
    assert "".join(token.content for token in found if token.type == "text") == f"labelcount{one_line(name)}3next4"


def test_a_table_tells_what_it_leaves_out() -> None:
    assert table(["a", "b"], [[1, 0.123456]], more=1200).splitlines()[2:] == [
        "| 1 | 0.1235 |",
        "| ... and 1,200 more |  |",
    ]


def test_names_of_many_words_keep_their_underscores() -> None:
    assert escaped("dining_room") == "dining_room"
    assert escaped("_x_") == "\\_x\\_"


@pytest.mark.parametrize("text", [*ODD_NAMES, "word " * 40])
@pytest.mark.parametrize("width", [24, 60, 130])
def test_words_fit(text: str, width: int) -> None:
    assert sheets._width(fitted(text, width)) <= width
    lines = wrapped(text, width, 3)
    assert len(lines) <= 3
    assert all(sheets._width(line) <= width for line in lines)


def test_long_words_lose_their_middle() -> None:
    assert one_line("0123456789", 5) == "01…89"
    assert len(one_line("x" * 500)) == MAX_CELL
    assert fitted("beginning/of/a/long/name.jpg", 90).startswith("beg")
    assert fitted("beginning/of/a/long/name.jpg", 90).endswith(".jpg")


@pytest.mark.parametrize(
    "values",
    [
        [3.5],
        [3.5] * 100,
        [],
        [0.0, 5e-324],
        [1e16, 1e16 + 2],
        [-1.7e308, 1.7e308],
        [0.0] * 99 + [1e300],
        list(np.geomspace(1e-3, 1e9, 200)),
    ],
)
def test_histograms_of_odd_numbers(values: list[float]) -> None:
    assert len(plots.histograms("h", {"x": np.array(values)}, BUDGET)) < BUDGET


def test_bins_rise_in_powers_only_where_one_column_would_be_all() -> None:
    edges, in_powers = plots.bin_edges(np.array([1.0, 2.0, 3.0, 1000.0]))
    assert in_powers
    assert (edges[0], edges[-1]) == (1, 1000)
    assert not plots.bin_edges(np.array([0.0, 2.0, 3.0, 1000.0]))[1]
    assert not plots.bin_edges(np.array([1.0, 2.0, 3.0]))[1]


@pytest.mark.parametrize("values", [[], [3.5], [3.5] * 9, [1e16, 1e16 + 2], [0.0, 5e-324]])
def test_values_that_nothing_lies_between_have_no_bins(values: list[float]) -> None:
    assert len(plots.bin_edges(np.array(values))[0]) == 0


def test_plots_of_many_long_names_keep_their_budget() -> None:
    names = [f"{number} of a rather long class name" for number in range(30)]
    parts = {split: [number * 37.0 for number in range(30)] for split in ("train", "validation", "test")}
    assert len(plots.stacked("s", names, parts, "examples", BUDGET)) <= BUDGET
    counts = np.random.default_rng(0).integers(0, 50, (30, 30))
    drawn = plots.matrix("m", names, names, counts, counts.sum(axis=1), 16_000)
    assert len(drawn) <= 16_000
    assert min(image_of(drawn).size) > 500


def test_nothing_to_draw_is_a_sentence() -> None:
    assert plots.bars("b", [], "files", BUDGET) == plots.NOTHING
    assert plots.matrix("m", [], ["a"], np.zeros((0, 1)), np.zeros(0), BUDGET) == plots.NOTHING


def strings(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values[:2], pa.string()), pa.array(values[2:], pa.string())])


def test_the_largest_values_and_the_sum_of_the_others() -> None:
    column = strings("b", "a", "b", None, "c", None, None)
    assert rows.largest(column, 4) == ([("(none)", 3), ("b", 2), ("a", 1), ("c", 1)], 0)
    assert rows.largest(column, 3) == ([("(none)", 3), ("b", 2), ("2 others", 2)], 2)
    assert rows.largest(strings(), 3) == ([], 0)
    assert rows.counts_of(column, ["c", "b", "x"]) == [1, 2, 0]


def test_rows_are_spread_over_values_and_within_them() -> None:
    column = strings(*["a"] * 90, *["b"] * 9, None)
    chosen = rows.spread(column, 7).tolist()
    assert [place for place in chosen if place < 90] == [0, 30, 60]
    assert [place for place in chosen if 90 <= place < 99] == [90, 93, 96]
    assert chosen[-1] == 99
    assert rows.spread(strings("x", "y"), 12).tolist() == [0, 1]
    assert len(rows.spread(strings(*[str(number) for number in range(300)]), 12)) == 12
    assert [len(rows.spread(strings(), 12)), len(rows.spread(column, 0))] == [0, 0]


def test_extremes_are_of_finite_values_and_never_the_same_row() -> None:
    values = np.array([3, np.nan, 1, np.inf, 2, -np.inf, 5, 4])
    assert [places.tolist() for places in rows.extremes(values, 2)] == [[2, 4], [6, 7]]
    assert [places.tolist() for places in rows.extremes(values, 4)] == [[2, 4, 0, 7], [6]]
    assert [len(places) for places in rows.extremes(np.array([np.nan]), 4)] == [0, 0]


def test_integers_of_any_size_are_numbers() -> None:
    assert rows.numbers(pa.chunked_array([pa.array([2**62 + 1, None, -3])]))[[0, 2]].tolist() == [2.0**62, -3]
