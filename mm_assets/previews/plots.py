"""Plots of numbers as Markdown, by Matplotlib's objects: pyplot would keep figures and choose a screen."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mm_assets.previews import encoding
from mm_assets.previews.markdown import one_line, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 560, 260, 100
FONT = 8
MAX_NAME = 20
BINS = 40
NOTHING = "There is nothing to draw."
# A matrix of more classes is drawn without numbers.
MAX_NUMBERS = 15
# More shades would cost bytes and show nothing.
SHADES = 8
# Values are clipped to this, because Matplotlib squares and adds its limits.
_BEYOND = 1e100

_CARD, _INK, _LINE = "#fbfbf9", "#22262b", "#c9c9c4"
_COLOURS = ("#3b6ea8", "#e0a030", "#5a9a6f", "#7d6bb0")
_ACCENT = "#a3405c"


def bars(alt: str, counts: Sequence[tuple[str, float]], unit: str, max_chars: int, notes: Sequence[str] = ()) -> str:
    """Horizontal bars, the first on top, each with its number or note."""
    return stacked(alt, [name for name, _ in counts], {"": [value for _, value in counts]}, unit, max_chars, notes)


def stacked(
    alt: str,
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    unit: str,
    max_chars: int,
    notes: Sequence[str] = (),
) -> str:
    """Horizontal bars made of parts, the first name on top.

    Args:
        alt: what the picture shows, in words.
        names: names of the bars.
        parts: the values of each part, one for each bar, by the part's name in the legend.
        unit: what is counted.
        max_chars: greatest length of the picture.
        notes: text at the end of each bar; its sum where there are none.
    """
    if not names:
        return NOTHING
    figure, (axes,) = _figure(max(110, 62 + 15 * len(names)) + (24 if len(parts) > 1 else 0))
    places, ends = np.arange(len(names)), np.zeros(len(names))
    for (part, values), colour in zip(parts.items(), cycle(_COLOURS), strict=False):
        axes.barh(places, values, left=ends, color=colour, height=0.72, label=_plain(part))
        ends = ends + np.asarray(values, dtype=np.float64)
    for place, (end, note) in enumerate(zip(ends, notes or [f"{end:,.0f}" for end in ends], strict=True)):
        axes.text(end, place, f" {_plain(note)}", va="center", fontsize=FONT - 1, color=_INK)
    axes.set_yticks(places, [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, (max(ends, default=0) or 1) * 1.2)
    axes.set_xlabel(unit, fontsize=FONT, color=_INK)
    if len(parts) > 1:
        figure.legend(loc="outside upper center", ncols=len(parts), fontsize=FONT, frameon=False, labelcolor=_INK)
    return picture(alt, encoding.plot(_rendered(figure), max_chars))


def histograms(
    alt: str, columns: Mapping[str, np.ndarray], max_chars: int, span: tuple[float, float] | None = None
) -> str:
    """A histogram for each named array of finite numbers, side by side; a dashed line marks the median.

    Args:
        alt: what the picture shows, in words.
        columns: numbers by name.
        max_chars: greatest length of the picture.
        span: ends of the axis; None: the lowest and the highest number.
    """
    figure, axes = _figure(panels=len(columns), height=200)
    for axis, (name, values) in zip(axes, columns.items(), strict=True):
        axis.set_xlabel(_plain(name), fontsize=FONT, color=_INK)
        axis.set_ylabel("images", fontsize=FONT, color=_INK)
        _histogram(axis, np.clip(values.astype(np.float64), -_BEYOND, _BEYOND), span)
    return picture(alt, encoding.plot(_rendered(figure), max_chars))


def _histogram(axes: "Axes", values: np.ndarray, span: tuple[float, float] | None) -> None:
    edges, in_powers = bin_edges(values) if span is None else (np.linspace(*span, BINS + 1), False)
    if not len(edges):
        axes.bar([0], [len(values)], width=0.2, color=_COLOURS[0])
        axes.set_xlim(-1, 1)
        axes.set_xticks([0], [f"{values[0]:.4g}" if len(values) else "no value"])
        return
    counts, _ = np.histogram(values, edges)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=_COLOURS[0], edgecolor=_CARD, linewidth=0.4)
    if in_powers:
        axes.set_xscale("log")
    median = float(np.median(values))
    axes.axvline(median, color=_ACCENT, linestyle="--", linewidth=1)
    axes.set_title(f"median {median:.4g}", fontsize=FONT, color=_ACCENT, loc="right", pad=3)


def bin_edges(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Edges of a histogram's bins, and whether they rise in powers; no edges where all values are equal.

    Edges rise in powers where the largest value is so far from the median that equal bins would show one column.
    """
    if not len(values):
        return np.array([]), False
    low, high = float(values.min()), float(values.max())
    in_powers = low > 0 and high > 20 * float(np.median(values))
    edges = np.geomspace(low, high, BINS + 1) if in_powers else np.linspace(low, high, BINS + 1)
    edges[0], edges[-1] = low, high
    # Values may be so close that there is no number between them.
    return (edges, in_powers) if np.all(np.diff(edges) > 0) else (np.array([]), False)


def curve(alt: str, points: Sequence[tuple[float, float]], level: tuple[str, float] | None, max_chars: int) -> str:
    """A curve of the loss by training step, with a dashed line at a level to compare it with."""
    figure, (axes,) = _figure()
    steps, losses = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, losses, color=_COLOURS[0], linewidth=1.4, marker="." if len(points) < 60 else "", label="training")
    if level is not None:
        axes.axhline(level[1], color=_ACCENT, linestyle="--", linewidth=1.2, label=f"{level[0]} {level[1]:.4g}")
    axes.set_xlabel("step", fontsize=FONT, color=_INK)
    axes.set_ylabel("loss", fontsize=FONT, color=_INK)
    axes.set_ylim(bottom=0)
    axes.grid(color=_LINE, linewidth=0.5)
    axes.legend(fontsize=FONT, frameon=False, labelcolor=_INK)
    return picture(alt, encoding.plot(_rendered(figure), max_chars))


def matrix(
    alt: str, rows: Sequence[str], columns: Sequence[str], counts: np.ndarray, totals: np.ndarray, max_chars: int
) -> str:
    """A heat map of true labels (rows) and answers (columns); the colour is the answer's share of its row.

    Args:
        alt: what the picture shows, in words.
        rows: names of the rows.
        columns: names of the columns.
        counts: shape (rows, columns).
        totals: shape (rows,): the sum of each whole row; the columns may be only a part of it.
        max_chars: greatest length of the picture.
    """
    import matplotlib

    if not len(rows):
        return NOTHING
    cell = 30 if len(columns) <= MAX_NUMBERS else 14
    figure, (axes,) = _figure(max(200, cell * len(rows) + 120), width=max(360, cell * len(columns) + 170))
    # The square root makes one mistake in a hundred visible.
    shares = np.sqrt(counts / totals[:, None])
    shades = matplotlib.colormaps["Blues"].resampled(SHADES)
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(columns)), [_plain(name) for name in columns], rotation=90)
    axes.set_yticks(range(len(rows)), [_plain(name) for name in rows])
    axes.set_xlabel("answer", fontsize=FONT, color=_INK)
    axes.set_ylabel("true label", fontsize=FONT, color=_INK)
    if len(columns) <= MAX_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            ink = "white" if shares[row, column] > 0.6 else _INK
            text = f"{count:,.0f}" if count else ""
            axes.text(column, row, text, ha="center", va="center", fontsize=FONT - 1, color=ink)
    return picture(alt, encoding.plot(_rendered(figure), max_chars))


def _figure(height: int = HEIGHT, panels: int = 1, width: int = WIDTH) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained", facecolor=_CARD)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axis in axes:
        axis.set_facecolor(_CARD)
        axis.tick_params(labelsize=FONT, labelcolor=_INK, color=_LINE)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_LINE)
    return figure, axes


def _rendered(figure: "Figure") -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in a script that the font does not have
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _plain(name: str) -> str:
    """A name short enough for a plot; dollars are escaped, because they would start a formula."""
    return one_line(name, MAX_NAME).replace("$", r"\$")
