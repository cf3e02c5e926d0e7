"""Ask a lake, and look at what it says."""

from collections.abc import Iterator, Sequence

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.trace.find import find
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.trace.nodes import Node, Trace


def traces_of(tables: Lake, what: str) -> list[Trace]:
    return find(TracedLake(tables), what)


def one(tables: Lake, what: str) -> Trace:
    (trace,) = traces_of(tables, what)
    return trace


def of_kind(nodes: Sequence[Node], kind: str) -> list[Node]:
    """The nodes of a kind, wherever they hang, in the order of the tree."""
    return [node for node in all_of(nodes) if node.kind == kind]


def all_of(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from all_of(node.children)
