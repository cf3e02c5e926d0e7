"""Markdown for Dagster's UI: tables and pictures. A user's text in them cannot break or add anything."""

import re
from collections.abc import Sequence

# Longer text in a cell is cut in its middle.
MAX_CELL = 60
# An underscore inside a word means nothing in Markdown; escaping it would only make the source hard to read.
_ACTIVE = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")


def one_line(text: object, length: int = MAX_CELL) -> str:
    """Text as one line of printable characters; a text longer than `length` is cut in its middle."""
    line = " ".join(str(text).split())
    if len(line) > length:
        tail = (length - 1) // 2
        line = f"{line[: length - 1 - tail]}…{line[len(line) - tail :]}"
    # A character that is not printable may be a control character, or reverse the direction of the text.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def escaped(text: object, length: int = MAX_CELL) -> str:
    """Text as one line of Markdown that is shown literally."""
    return _ACTIVE.sub(lambda match: f"\\{match[0]}", one_line(text, length))


def table(head: Sequence[str], rows: Sequence[Sequence[object]], more: int = 0, cell: int = MAX_CELL) -> str:
    """A Markdown table.

    Args:
        head: names of the columns.
        rows: values.
        more: number of rows that were left out; the last line tells it.
        cell: greatest length of a cell; longer text is cut in its middle.
    """
    lines = [[escaped(name) for name in head], ["---"] * len(head), *([_cell(v, cell) for v in row] for row in rows)]
    if more:
        lines.append([f"... and {more:,} more", *[""] * (len(head) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object, length: int) -> str:
    return escaped(f"{value:.4g}" if isinstance(value, float) else value, length)


def picture(alt: str, uri: str) -> str:
    """A picture from a data URI."""
    return f"![{escaped(alt)}]({uri})"
