"""The lines of a run, and the bar that only a terminal gets."""

import io
import sys

from rich.console import Console

from mm_assets.terminal.display import Display


def show(console: Console) -> Display:
    display = Display(console, assets=2)
    with display.running():
        display.started("scores__near_duplicates")
        display.progress("scores__near_duplicates", "5 of 10 images, 2/s, 3 s left", 5, 10)
        display.materialized("scores/near_duplicates", "images:123456@v6", 1628, 1.25, reused=False)
        display.ended("scores__near_duplicates")
        display.materialized("raw_images", "objects:123456@v2", 1639, 0.5, reused=True)
        display.warned("sft_dataset", "balance", "pool: 1% [of the examples]")
        display.failed("evaluation", "no model of [this] lineage")
    return display


def test_a_file_gets_a_line_for_each_thing_and_no_bar() -> None:
    output = io.StringIO()
    display = show(Console(file=output, width=120, highlight=False, soft_wrap=True))
    assert output.getvalue().splitlines() == [
        " ✓ scores/near_duplicates  images:123456@v6           1,628 rows     1.2 s  new",
        " ✓ raw_images              objects:123456@v2          1,639 rows     0.5 s  as before",
        " ! sft_dataset, check balance: pool: 1% [of the examples]",
        " ✗ evaluation failed: no model of [this] lineage",
    ]
    assert display.failures == ["evaluation"]


def test_a_terminal_shows_what_is_computed_now() -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True)
    display = Display(console, assets=2)
    with display.running():
        display.started("image_table")
        display.progress("image_table", "5 of 10 images, 2/s, 3 s left", 5, 10)
        print("of a library", file=sys.stderr)
    assert "of a library" not in output.getvalue()
    assert "image_table" in output.getvalue()
    assert "5 of 10 images, 2/s, 3 s left" in output.getvalue()
    assert "0 of 2" in output.getvalue()
