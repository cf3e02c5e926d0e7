"""Contact sheets: pictures with captions, in rows under a title, on a light card that suits every theme."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mm_assets.previews import encoding
from mm_assets.previews.markdown import one_line, picture

WIDTH = 560
GAP = 8
LINE = 14
SIZE, TITLE_SIZE = 11, 12

_CARD, _BORDER, _MAT, _REFUSED = "#fbfbf9", "#d5d5d0", "#ecece8", "#f6e3df"
_INK, _FAINT = "#22262b", "#5c6066"


@dataclass(frozen=True)
class Tile:
    """A picture with captions under it; without a picture, a card with the reason.

    The last caption may take `last_lines` lines; the others are shortened to one line.
    """

    image: Image.Image | None
    captions: Sequence[str]
    reason: str = "no preview"
    last_lines: int = 1

    def lines(self, width: int) -> list[str]:
        """The captions as lines that are not wider than `width` pixels."""
        *first, last = self.captions
        return [*(fitted(text, width) for text in first), *wrapped(last, width, self.last_lines)]


@dataclass(frozen=True)
class Section:
    """Tiles that belong together, under a title; the title may be empty."""

    title: str
    tiles: Sequence[Tile]


def sheet(alt: str, sections: Sequence[Section], columns: int, max_chars: int) -> str:
    """A sheet as Markdown of at most `max_chars` characters; a sentence where there is no tile."""
    filled = [section for section in sections if section.tiles]
    if not filled:
        return "There is no picture to show."
    if any(tile.image for section in filled for tile in section.tiles):
        return picture(alt, encoding.photos(lambda scale: draw(filled, columns, scale), max_chars))
    return picture(alt, encoding.plot(draw(filled, columns), max_chars))  # words only


def draw(sections: Sequence[Section], columns: int, scale: float = 1.0) -> Image.Image:
    """Draw a sheet; `scale` is the tiles' share of their full size, and the text keeps its size."""
    side = max(24, int(((WIDTH - GAP) / columns - GAP) * scale))
    blocks = [block for section in sections for block in _blocks(section, columns)]
    widest = max(len(row) for _, row in blocks)
    width = GAP + max(widest, min(columns, 3)) * (side + GAP)
    heights = [_height(title, row, side) for title, row in blocks]
    card = Image.new("RGB", (width, GAP + sum(heights)), _CARD)
    pen = ImageDraw.Draw(card)
    top = GAP
    for (title, row), height in zip(blocks, heights, strict=True):
        if title:
            pen.text((GAP, top), fitted(title, width - 2 * GAP, TITLE_SIZE), fill=_INK, font=_font(TITLE_SIZE))
        _draw_row(card, pen, row, side, top + _title_height(title))
        top += height
    pen.rectangle((0, 0, width - 1, card.height - 1), outline=_BORDER)
    return card


def _blocks(section: Section, columns: int) -> list[tuple[str, Sequence[Tile]]]:
    """The rows of tiles of a section, the first with its title."""
    starts = range(0, len(section.tiles), columns)
    return [(section.title if start == 0 else "", section.tiles[start : start + columns]) for start in starts]


def _title_height(title: str) -> int:
    return LINE + 4 if title else 0


def _height(title: str, row: Sequence[Tile], side: int) -> int:
    return _title_height(title) + _picture_height(side) + LINE * max(len(tile.lines(side)) for tile in row) + GAP


def _picture_height(side: int) -> int:
    return side * 3 // 4


def _draw_row(card: Image.Image, pen: ImageDraw.ImageDraw, row: Sequence[Tile], side: int, top: int) -> None:
    box = (side, _picture_height(side))
    for column, tile in enumerate(row):
        left = GAP + column * (side + GAP)
        card.paste(_reason(tile.reason, box) if tile.image is None else _matted(tile.image, box), (left, top))
        for number, line in enumerate(tile.lines(side)):
            ink = _INK if number == 0 else _FAINT
            pen.text((left, top + box[1] + 1 + number * LINE), line, fill=ink, font=_font(SIZE))


def _matted(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    share = min(box[0] / image.width, box[1] / image.height)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    mat = Image.new("RGB", box, _MAT)
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    mat.paste(small, ((box[0] - size[0]) // 2, (box[1] - size[1]) // 2))
    return mat


def _reason(text: str, box: tuple[int, int]) -> Image.Image:
    card = Image.new("RGB", box, _REFUSED)
    pen = ImageDraw.Draw(card)
    for number, line in enumerate(wrapped(text, box[0] - 8, max(1, (box[1] - 6) // LINE))):
        pen.text((4, 3 + number * LINE), line, fill=_INK, font=_font(SIZE))
    return card


def wrapped(text: str, width: int, most: int) -> list[str]:
    """At most `most` lines of text, broken at spaces, or within a word that is too long; the last one is shortened."""
    left = one_line(text, 200)
    lines: list[str] = []
    while left and len(lines) < most - 1 and _width(left) > width:
        end = next(end for end in range(len(left), 0, -1) if end == 1 or _width(left[:end]) <= width)
        space = left.rfind(" ", 0, end + 1)
        end = space if space > 0 else end
        lines.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return [*lines, fitted(left, width)] if left else lines


def fitted(text: str, width: int, size: int = SIZE) -> str:
    """Text as one line of at most `width` pixels; a longer text is cut in its middle."""
    line = one_line(text, 200)
    length = len(line)
    while length > 1 and _width(line, size) > width:
        length -= 1
        line = one_line(text, length)
    return line


def _width(text: str, size: int = SIZE) -> float:
    return float(_font(size).getlength(text))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's own font has little more than ASCII; Matplotlib's font also has accents and arrows.
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
