"""A trace for people: a tree with a line for each node. Long texts and lists are cut; the JSON has them whole."""

from collections.abc import Iterator, Sequence

from rich.text import Text
from rich.tree import Tree

from mm_assets.operations.trace.lines import line
from mm_assets.operations.trace.nodes import Node, Trace

# So many children of a node, and so many traces, are printed.
MOST = 20


def trees(traces: Sequence[Trace]) -> Iterator[Tree | Text]:
    """A tree for each trace."""
    for item in traces[:MOST]:
        yield _tree(item)
    if len(traces) > MOST:
        yield Text(f"... and {len(traces) - MOST:,} more")


def _tree(item: Trace) -> Tree:
    tree = Tree(_text(Node(item.kind, item.id, item.facts)))
    for words, nodes in (("up: what it comes from", item.up), ("down: what used it", item.down)):
        if nodes:
            _add(tree.add(Text(words, style="bold")), nodes)
    return tree


def _add(branch: Tree, nodes: Sequence[Node]) -> None:
    for node in nodes[:MOST]:
        _add(branch.add(_text(node)), node.children)
    if len(nodes) > MOST:
        branch.add(Text(f"... and {len(nodes) - MOST:,} more"))


def _text(node: Node) -> Text:
    name, facts = line(node)
    return Text.assemble((name, "cyan"), f": {', '.join(facts)}" if facts else "")
