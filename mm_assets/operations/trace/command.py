"""`mm-assets trace`: where a thing in the lake comes from, and what used it."""

import json
import sys
from collections.abc import Callable, Sequence

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.trace.find import as_text, find, sentence_not_found
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.trace.nodes import Trace, as_values


def run(tables: Lake, what: str, *, as_json: bool) -> Callable[[], int]:
    """Reads the lake and returns a function that prints and gives the exit code; 1: nothing has that name."""
    lake = TracedLake(tables)
    traces = find(lake, what)
    if not traces:
        sentence = sentence_not_found(lake, what)
        return lambda: _print_error(sentence)
    return lambda: _print_traces(what, traces, as_json=as_json)


def _print_error(sentence: str) -> int:
    print(f"mm-assets: {sentence}", file=sys.stderr)
    return 1


def _print_traces(what: str, traces: Sequence[Trace], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(as_values(as_text(what), traces), indent=2))
        return 0
    from rich.console import Console

    from mm_assets.operations.trace.tree import trees

    # A pipe has no width of its own; nothing is cut there.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for tree in trees(traces):
        console.print(tree)
    return 0
