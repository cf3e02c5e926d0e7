"""`mm-assets trace`: where a thing in the lake comes from, and what used it."""

import json
import sys
from collections.abc import Callable, Sequence

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.trace.find import as_text, find, not_found
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.trace.nodes import Found, as_values


def run(tables: Lake, what: str, *, as_json: bool) -> Callable[[], int]:
    """Read the lake; what is returned prints, and gives the exit code (1: nothing goes by that name)."""
    lake = TracedLake(tables)
    found = find(lake, what)
    if not found:
        sentence = not_found(lake, what)
        return lambda: _say(sentence)
    return lambda: _show(what, found, as_json=as_json)


def _say(sentence: str) -> int:
    print(f"mm-assets: {sentence}", file=sys.stderr)
    return 1


def _show(what: str, found: Sequence[Found], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(as_values(as_text(what), found), indent=2))
        return 0
    from rich.console import Console

    from mm_assets.operations.trace.tree import trees

    # A pipe has no width of its own; nothing is cut there.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for tree in trees(found):
        console.print(tree)
    return 0
